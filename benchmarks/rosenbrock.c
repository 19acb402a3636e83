/* Rosenbrock's function with the signature that fastgrad, SciPy and Numba share for functions in C. Compiled when a
   benchmark runs, see finite.py; no part of the package. */
double rosenbrock(int n, double *x, void *data) {
    (void)data;
    double sum = 0.0;
    for (int i = 0; i + 1 < n; i++) {
        double a = x[i + 1] - x[i] * x[i], b = 1.0 - x[i];
        sum += 100.0 * a * a + b * b;
    }
    return sum;
}

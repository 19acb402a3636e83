/* Colourings of random patterns hold what they promise, in any order; patterns that are none are refused. */
#include "check.h"
#include "fastgrad.h"

enum { M = 40, N = 30, MOST = M * N };

typedef struct {
    int is[M][N]; /* dense, to compare with */
    int64_t start[M + 1], column[MOST], t_start[N + 1], t_column[MOST];
    int m, n;
} matrix;

static uint64_t state = 1;
static double draw(void) {
    state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (double)(state >> 11) / 9007199254740992.0;
}

static void index_it(matrix *a) {
    int64_t k = 0;
    for (int i = 0; i < a->m; i++)
        for (int j = (a->start[i] = k, 0); j < a->n; j++)
            if (a->is[i][j])
                a->column[k++] = j;
    a->start[a->m] = k;
    k = 0;
    for (int j = 0; j < a->n; j++)
        for (int i = (a->t_start[j] = k, 0); i < a->m; i++)
            if (a->is[i][j])
                a->t_column[k++] = i;
    a->t_start[a->n] = k;
}
static matrix random_matrix(int m, int n, double density, int is_symmetric) {
    matrix a = {.m = m, .n = n};
    for (int i = 0; i < m; i++)
        for (int j = 0; j < (is_symmetric ? i + 1 : n); j++) {
            a.is[i][j] = draw() < density;
            if (is_symmetric)
                a.is[j][i] = a.is[i][j];
        }
    index_it(&a);
    return a;
}
static fg_pattern rows_of(const matrix *a) { return (fg_pattern){a->m, a->n, MOST, a->start, a->column}; }
static fg_pattern columns_of(const matrix *a) { return (fg_pattern){a->n, a->m, MOST, a->t_start, a->t_column}; }

static int64_t order[N], group[N], scratch[2 * (M + N)];
static void shuffle(int n) {
    for (int i = 0; i < n; i++)
        order[i] = i;
    for (int i = n - 1; i > 0; i--) {
        const int j = (int)(draw() * (i + 1));
        const int64_t other = order[j];
        order[j] = order[i];
        order[i] = other;
    }
}

static int in_range(int n) {
    for (int i = 0; i < n; i++)
        if (group[i] < 0 || group[i] >= n)
            return 0;
    return 1;
}
static int64_t n_groups(void) {
    int64_t most = 0;
    for (int i = 0; i < N; i++)
        most = group[i] > most ? group[i] : most;
    return most + 1;
}
/* whether no column of j's group but j is nonzero in row i */
static int is_alone(const matrix *a, int i, int j) {
    for (int k = 0; k < a->n; k++)
        if (k != j && a->is[i][k] && group[k] == group[j])
            return 0;
    return 1;
}

static void columns_of_a_group_share_no_row(double density) {
    const matrix a = random_matrix(M, N, density, 0);
    const fg_pattern rows = rows_of(&a), columns = columns_of(&a);
    shuffle(N);
    CHECK(fg_group_columns(&rows, &columns, order, group, scratch, NULL, NULL, NULL) == FG_OK);
    int good = in_range(N);
    for (int i = 0; i < M; i++)
        for (int j = 0; j < N; j++)
            good &= !a.is[i][j] || is_alone(&a, i, j);
    CHECK(good);
}

static void an_element_or_its_mirror_is_alone(double density) {
    const matrix a = random_matrix(N, N, density, 1);
    const fg_pattern rows = rows_of(&a);
    shuffle(N);
    CHECK(fg_group_symmetric(&rows, order, group, scratch, NULL, NULL, NULL) == FG_OK);
    int good = in_range(N);
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++)
            good &= !a.is[i][j] || is_alone(&a, i, j) || is_alone(&a, j, i);
    CHECK(good);
}

static void a_path_takes_three_groups_and_a_star_two(void) {
    matrix path = {.m = N, .n = N}, star = path;
    for (int i = 0; i < N; i++) {
        path.is[i][i] = star.is[i][i] = star.is[0][i] = star.is[i][0] = 1;
        if (i > 0)
            path.is[i][i - 1] = path.is[i - 1][i] = 1;
        order[i] = i;
    }
    index_it(&path);
    index_it(&star);
    const fg_pattern rows = rows_of(&path), columns = columns_of(&path), stars = rows_of(&star);
    CHECK(fg_group_columns(&rows, &columns, order, group, scratch, NULL, NULL, NULL) == FG_OK);
    CHECK(n_groups() == 3);
    CHECK(fg_group_symmetric(&rows, order, group, scratch, NULL, NULL, NULL) == FG_OK);
    CHECK(n_groups() == 3);
    CHECK(fg_group_symmetric(&stars, order, group, scratch, NULL, NULL, NULL) == FG_OK);
    CHECK(n_groups() == 2);
}

static void breadth_first_finds_a_band_again(void) {
    matrix a = {.m = N, .n = N}; /* a path whose vertices have other numbers */
    int64_t name[N], by_breadth[N];
    shuffle(N);
    for (int i = 0; i < N; i++)
        name[i] = order[i];
    for (int i = 0; i + 1 < N; i++)
        a.is[name[i]][name[i + 1]] = a.is[name[i + 1]][name[i]] = a.is[name[i]][name[i]] = 1;
    a.is[name[N - 1]][name[N - 1]] = 1;
    index_it(&a);
    for (int i = 0; i < N; i++)
        order[i] = name[i]; /* from one end */
    const fg_pattern rows = rows_of(&a), columns = columns_of(&a);
    CHECK(fg_order_by_breadth(&rows, &columns, order, by_breadth, scratch, NULL) == FG_OK);
    int near = 1;
    for (int i = 0; i < N; i++)
        near &= by_breadth[i] == name[i] || (i > 0 && by_breadth[i] == name[i - 1]) ||
                (i + 1 < N && by_breadth[i] == name[i + 1]);
    CHECK(near);
    CHECK(fg_group_columns(&rows, &columns, by_breadth, group, scratch, NULL, NULL, NULL) == FG_OK);
    CHECK(n_groups() == 3);
}

static int stop(void *context, int64_t done) {
    (void)context, (void)done;
    return 1;
}
static void what_is_no_pattern_is_refused(void) {
    matrix a = random_matrix(M, N, 0.2, 0);
    const fg_pattern rows = rows_of(&a), columns = columns_of(&a);
    fg_error error = {""};
    shuffle(N);
    CHECK(fg_group_columns(&rows, &columns, order, group, scratch, stop, NULL, &error) == FG_CANCELLED);
    CHECK(fg_group_columns(&rows, &rows, order, group, scratch, NULL, NULL, &error) == FG_INVALID_VALUE);
    CHECK(fg_group_symmetric(&rows, order, group, scratch, NULL, NULL, &error) == FG_INVALID_VALUE);
    const int64_t wrong[] = {-1, N, order[0]};
    for (int i = 0; i < 3; i++) {
        const int64_t kept = order[N - 1];
        int64_t other[N];
        order[N - 1] = wrong[i];
        CHECK(fg_group_columns(&rows, &columns, order, group, scratch, NULL, NULL, &error) == FG_INVALID_VALUE);
        if (i < 2 || a.t_start[N] < N) /* twice the same start: what no row reaches stays out */
            CHECK(fg_order_by_breadth(&rows, &columns, order, other, scratch, &error) == FG_INVALID_VALUE);
        order[N - 1] = kept;
    }
    const int64_t kept = a.column[3];
    a.column[3] = N;
    CHECK(fg_group_columns(&rows, &columns, order, group, scratch, NULL, NULL, &error) == FG_INVALID_VALUE);
    a.column[3] = -1;
    CHECK(fg_group_columns(&rows, &columns, order, group, scratch, NULL, NULL, &error) == FG_INVALID_VALUE);
    a.column[3] = kept;
    a.start[2] = MOST + 1;
    CHECK(fg_group_columns(&rows, &columns, order, group, scratch, NULL, NULL, &error) == FG_INVALID_VALUE);
    a.start[2] = -1;
    CHECK(fg_group_columns(&rows, &columns, order, group, scratch, NULL, NULL, &error) == FG_INVALID_VALUE);
}

int main(void) {
    const double densities[] = {0, 0.03, 0.1, 0.3, 1};
    for (int d = 0; d < 5; d++)
        for (int round = 0; round < 20; round++) {
            columns_of_a_group_share_no_row(densities[d]);
            an_element_or_its_mirror_is_alone(densities[d]);
        }
    a_path_takes_three_groups_and_a_star_two();
    breadth_first_finds_a_band_again();
    what_is_no_pattern_is_refused();
    return check_result();
}

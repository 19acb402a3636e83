/* Which columns of a sparse matrix one difference measures together: greedy colourings of patterns.
 *
 * A vertex takes the least group that no vertex in its way has; `taken[g] == v` says that group g is in the way of v,
 * so nothing is cleared between vertices. Both need the pattern alone, and memory of the caller's. */
#include "pool.h"
#include "status.h"

FG_CHECKED static fg_status check_pattern(const fg_pattern *p, int64_t n_rows, int64_t n_columns, fg_error *error) {
    if (p->n_rows != n_rows || p->n_columns != n_columns || n_rows < 0 || n_columns < 0 || p->start[0] != 0)
        return fg_fail(error, FG_INVALID_VALUE, "the pattern has another shape");
    for (int64_t i = 0; i < n_rows; i++)
        if (p->start[i + 1] < p->start[i] || p->start[i + 1] > p->n_entries)
            return fg_fail(error, FG_INVALID_VALUE, "row %lld of the pattern has no place", (long long)i);
    for (int64_t k = 0; k < p->start[n_rows]; k++)
        if (p->column[k] < 0 || p->column[k] >= n_columns)
            return fg_fail(error, FG_INVALID_VALUE, "the pattern has a column %lld, of %lld", (long long)p->column[k],
                           (long long)n_columns);
    return FG_OK;
}

/* Columns next to each other come soon after each other, as in a band: then greedy colouring needs few groups. */
fg_status fg_order_by_breadth(const fg_pattern *rows, const fg_pattern *columns, const int64_t *starts, int64_t *order,
                              int64_t *scratch, fg_error *error) {
    const int64_t m = rows->n_rows, n = rows->n_columns;
    int64_t *is_seen = scratch, *is_row_seen = scratch + n, n_seen = 0, next = 0;
    fg_status status = check_pattern(rows, m, n, error);
    if (!status)
        status = check_pattern(columns, n, m, error);
    if (status)
        return status;
    for (int64_t i = 0; i < n + m; i++)
        scratch[i] = 0;
    for (int64_t s = 0; s < n; s++) {
        if (starts[s] < 0 || starts[s] >= n)
            return fg_fail(error, FG_INVALID_VALUE, "there is no column %lld to start from", (long long)starts[s]);
        if (!is_seen[starts[s]]) {
            is_seen[starts[s]] = 1;
            order[n_seen++] = starts[s];
        }
        for (; next < n_seen; next++)
            for (int64_t k = columns->start[order[next]]; k < columns->start[order[next] + 1]; k++) {
                const int64_t row = columns->column[k];
                if (is_row_seen[row])
                    continue;
                is_row_seen[row] = 1;
                for (int64_t i = rows->start[row]; i < rows->start[row + 1]; i++) {
                    const int64_t c = rows->column[i];
                    if (!is_seen[c]) {
                        is_seen[c] = 1;
                        order[n_seen++] = c;
                    }
                }
            }
    }
    return n_seen == n
               ? FG_OK
               : fg_fail(error, FG_INVALID_VALUE, "the starts must hold each of %lld columns once", (long long)n);
}

/* What both colourings have in common: vertices in an order, each with groups that others are in the way of. */
typedef struct {
    const fg_pattern *rows, *columns;
    int64_t *group, *taken, *twice;
} colouring;

typedef void (*fg_forbid)(const colouring *c, int64_t vertex);

FG_CHECKED static fg_status colour(const colouring *c, int64_t n, const int64_t *order, fg_forbid forbid, fg_poll poll,
                                   void *poll_context, fg_error *error) {
    enum { BETWEEN = 64 }; /* vertices for which the clock is not asked */
    fg_watch watch = {.poll = poll, .context = poll_context};
    for (int64_t v = 0; v < n; v++)
        c->group[v] = c->taken[v] = c->twice[v] = -1;
    for (int64_t k = 0; k < n; k++) {
        const int64_t v = order[k];
        if (v < 0 || v >= n || c->group[v] >= 0) /* so others have at most n - 1 groups */
            return fg_fail(error, FG_INVALID_VALUE, "the order must hold each of %lld numbers once", (long long)n);
        if (k % BETWEEN == 0)
            fg_watch_look(&watch);
        if (watch.cancelled)
            return fg_fail(error, FG_CANCELLED, "cancelled");
        forbid(c, v);
        int64_t least = 0;
        while (c->taken[least] == v)
            least++;
        c->group[v] = least;
    }
    return FG_OK;
}

/* In the way of a column are those that share a row with it. */
static void forbid_columns(const colouring *c, int64_t v) {
    for (int64_t k = c->columns->start[v]; k < c->columns->start[v + 1]; k++) {
        const int64_t row = c->columns->column[k];
        for (int64_t i = c->rows->start[row]; i < c->rows->start[row + 1]; i++) {
            const int64_t group = c->group[c->rows->column[i]];
            if (group >= 0)
                c->taken[group] = v;
        }
    }
}

/* Whether x has a neighbour of that group besides w. */
static int has_another(const colouring *c, int64_t x, int64_t w, int64_t group) {
    for (int64_t k = c->rows->start[x]; k < c->rows->start[x + 1]; k++) {
        const int64_t y = c->rows->column[k];
        if (y != w && y != x && c->group[y] == group)
            return 1;
    }
    return 0;
}

/* In the way are neighbours, and who would make a path of four vertices in two groups: v - w - x - y where x has
 * another neighbour of w's group, or z - v - w - x where v has. */
static void forbid_paths(const colouring *c, int64_t v) {
    const int64_t first = c->rows->start[v], last = c->rows->start[v + 1];
    for (int64_t k = first; k < last; k++) {
        const int64_t w = c->rows->column[k], group = c->group[w];
        if (w == v || group < 0)
            continue;
        if (c->taken[group] == v)
            c->twice[group] = v;
        c->taken[group] = v;
    }
    for (int64_t k = first; k < last; k++) {
        const int64_t w = c->rows->column[k], group = c->group[w];
        if (w == v || group < 0)
            continue;
        for (int64_t i = c->rows->start[w]; i < c->rows->start[w + 1]; i++) {
            const int64_t x = c->rows->column[i];
            if (x == v || x == w || c->group[x] < 0 || c->taken[c->group[x]] == v)
                continue;
            if (c->twice[group] == v || has_another(c, x, w, group))
                c->taken[c->group[x]] = v;
        }
    }
}

fg_status fg_group_columns(const fg_pattern *rows, const fg_pattern *columns, const int64_t *order, int64_t *group,
                           int64_t *scratch, fg_poll poll, void *poll_context, fg_error *error) {
    const int64_t m = rows->n_rows, n = rows->n_columns;
    fg_status status = check_pattern(rows, m, n, error);
    if (!status)
        status = check_pattern(columns, n, m, error);
    const colouring c = {rows, columns, group, scratch, scratch + n};
    return status ? status : colour(&c, n, order, forbid_columns, poll, poll_context, error);
}

fg_status fg_group_symmetric(const fg_pattern *pattern, const int64_t *order, int64_t *group, int64_t *scratch,
                             fg_poll poll, void *poll_context, fg_error *error) {
    const int64_t n = pattern->n_rows;
    const fg_status status = check_pattern(pattern, n, n, error);
    const colouring c = {pattern, pattern, group, scratch, scratch + n};
    return status ? status : colour(&c, n, order, forbid_paths, poll, poll_context, error);
}

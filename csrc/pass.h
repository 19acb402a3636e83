/* Passes: rows of data through a program whose outputs are sums over them, in blocks of lanes that are held until the
 * sums are taken. Workers share first the blocks, then the pieces of the results. */
#ifndef FG_PASS_H
#define FG_PASS_H

#include "machine.h"

/* Rows of a result that are computed by one worker: of the across instruction `across`, or -1 for a result that does
 * not depend on the rows and stands there already. */
typedef struct {
    int64_t across, first, last;
    int64_t output, start, n; /* the elements of the output that they are */
    int64_t place;            /* of the first one among those of all outputs */
    double before;            /* share of all work that comes before its middle */
} fg_piece;

typedef struct {
    const fg_program *program;
    const fg_kernels *kernels;
    const fg_dataset *data;
    int64_t n_leaves, n_lanes, n_blocks; /* blocks that are held at once */
    fg_team team;                        /* a workspace each */
    void ***base;                        /* their buffers */
    int sums_apart;                      /* whether blocks make sums of their own, which pieces then add up */
    char **panels, **apart, *room;       /* of the sums over lanes, for each sum and block, in one piece of memory */
    char **result;                       /* where each output goes */
    fg_piece *pieces;
    int64_t n_pieces;
    double *sums;    /* of all outputs, or NULL: see fg_pass_sums */
    double row_cost; /* nanoseconds, roughly */
} fg_pass;

/* What a pass goes through in one round: some rows of a minibatch. */
typedef struct {
    const int64_t *rows; /* their numbers; NULL for those from `start` on */
    int64_t start, n;
    int64_t place;       /* of the first one in the minibatch */
    double total_weight; /* of the minibatch; without weights its rows */
    uint64_t key;        /* of its noise */
    double unit;         /* of fg_pass_all: what its sums are multiplied by in the end */
} fg_portion;

/* For minibatches of `batch` rows. `result` are the outputs' places; leaves and results are read in the order of the
 * program. Nothing is held when it fails. */
FG_CHECKED fg_status fg_pass_create(const fg_program *program, const fg_dataset *data, int64_t n_leaves, int64_t batch,
                                    const void *const *leaves, void *const *result, fg_watch *watch, fg_pass *pass,
                                    fg_error *error);
void fg_pass_destroy(fg_pass *pass);

/* Other parameters from now on: leaves one after another. */
void fg_pass_read(fg_pass *pass, const char *parameters);
/* What depends on no row: to be computed anew when the parameters have changed. */
void fg_pass_uniform(const fg_pass *pass);
/* Rows of one round. */
static inline int64_t fg_pass_rows(const fg_pass *pass) { return pass->n_lanes * pass->n_blocks; }
/* Fills the blocks of a round that are this worker's with their rows, and runs the program's instructions on lanes; not
 * all of them when the call is cancelled. */
void fg_pass_own_blocks(const fg_pass *pass, const fg_portion *portion, fg_crew *crew, int worker, fg_watch *watch);
static inline int fg_pass_owns_piece(const fg_piece *piece, int worker, int n_workers) {
    return (int)(piece->before * n_workers) == worker;
}
/* Sums a piece over the blocks, on top of what is there when `accumulate`. */
void fg_pass_piece(const fg_pass *pass, const fg_portion *portion, const fg_piece *piece, int accumulate);

/* Room for the sums of fg_pass_all: many rows are added up in float64 whatever the outputs are. */
FG_CHECKED fg_status fg_pass_sums(fg_pass *pass, fg_error *error);
/* The whole of the data, by every worker of a crew; `portion` is shared by them and its key is 0. */
void fg_pass_all(const fg_pass *pass, fg_crew *crew, fg_portion *portion, fg_watch *watch, int worker);
/* The sum of n weights, or n without them. */
double fg_pass_weight(const fg_dataset *data, const int64_t *rows, int64_t start, int64_t n);

#endif

/* Which kernels run here: the ISA is chosen at run time, the best one unless a name is forced. */
#include <stdatomic.h>
#include <string.h>

#include "kernels.h"
#include "status.h"

#if defined(FG_HAVE_X86)
extern const fg_kernels fg_kernels_baseline, fg_kernels_avx2, fg_kernels_avx512;
#else
extern const fg_kernels fg_kernels_neon;
#endif

/* The i-th best table that this processor can run, NULL past the last. */
static const fg_kernels *supported(int i) {
#if defined(FG_HAVE_X86)
    __builtin_cpu_init();
    int avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    int avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
                 __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw") &&
                 __builtin_cpu_supports("avx512cd");
    if (avx512 && i-- == 0)
        return &fg_kernels_avx512;
    if (avx2 && i-- == 0)
        return &fg_kernels_avx2;
    return i == 0 ? &fg_kernels_baseline : NULL;
#else
    return i == 0 ? &fg_kernels_neon : NULL;
#endif
}

static _Atomic(const fg_kernels *) active;

const fg_kernels *fg_active_kernels(void) {
    const fg_kernels *kernels = atomic_load_explicit(&active, memory_order_acquire);
    if (!kernels)
        atomic_store(&active, kernels = supported(0));
    return kernels;
}

const char *fg_current_isa(void) { return fg_active_kernels()->name; }

const char *fg_isa_name(int i) {
    const fg_kernels *kernels = i < 0 ? NULL : supported(i);
    return kernels ? kernels->name : NULL;
}

fg_status fg_select_isa(const char *name, fg_error *error) {
    const fg_kernels *kernels = NULL;
    for (int i = 0; (kernels = supported(i)) != NULL; i++)
        if (!name || !*name || strcmp(name, kernels->name) == 0)
            break;
    if (!kernels)
        return fg_fail(error, FG_INVALID_VALUE, "no kernels named '%.40s' run on this processor; best here is '%s'",
                       name, supported(0)->name);
    atomic_store(&active, kernels);
    return FG_OK;
}

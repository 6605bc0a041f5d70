// For which processors a kernel is compiled. Free of everything.
#pragma once

// One copy of a function for each generation of x86; the best that the machine knows is taken at the program's start.
// Other processors get plain code, and so do sanitizers, which do not get along with that.
#if defined(__x86_64__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define TENON_CPU_CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define TENON_CPU_CLONES
#endif
// What runs inside of such a function must become part of it.
#define TENON_INLINE inline __attribute__((always_inline))

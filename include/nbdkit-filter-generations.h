/* The generations of the filter interface, and which of them the source chooses: nbdkit-filter.h says how.
 *
 * Usable from C90, C11 and C++. Do not include it yourself: nbdkit-filter.h does.
 *
 * SPDX-License-Identifier: BSD-3-Clause
 */
#ifndef NBDKIT_FILTER_GENERATIONS_H
#define NBDKIT_FILTER_GENERATIONS_H

/* In order of time, with room for those between: the releases from, and what is new. Small letters were
 * never in a stable release. */
#define NBDKIT_GENERATION_S 100   /* proposed before the first release */
#define NBDKIT_GENERATION_A 200   /* 1.1.27, 1.2: open calls the next layer; _thread_model */
#define NBDKIT_GENERATION_B 300   /* 1.3.0, 1.4 to 1.8: flags and err; can_zero, can_fua; no _struct_size */
#define NBDKIT_GENERATION_C 400   /* 1.9.9, 1.10: can_multi_conn */
#define NBDKIT_GENERATION_D 500   /* 1.11.10, 1.12: can_extents, extents */
#define NBDKIT_GENERATION_E 600   /* 1.13.4, 1.14: can_cache, cache; thread_model for _thread_model */
#define NBDKIT_GENERATION_F0 700  /* 1.15.1: _version for version; can_fast_zero; readonly for prepare */
#define NBDKIT_GENERATION_F 800   /* 1.15.2, 1.16: reopen of the next layer */
#define NBDKIT_GENERATION_f1 900  /* 1.17.1: preconnect */
#define NBDKIT_GENERATION_G 1000  /* 1.18.0, 1.20: get_ready */
#define NBDKIT_GENERATION_g1 1100 /* 1.21.12: after_fork */
#define NBDKIT_GENERATION_g2 1200 /* 1.21.20: exportname for open */
#define NBDKIT_GENERATION_g3 1300 /* 1.21.22: list_exports */
#define NBDKIT_GENERATION_H 1400  /* 1.21.24, 1.22: is_tls for open, thread_model for get_ready */
#define NBDKIT_GENERATION_I 1500  /* 1.23.6, 1.24: default_export, export_description; is_tls for list_exports */
#define NBDKIT_GENERATION_i1 1600 /* 1.25.4: one nbdkit_next for two pointers; prepare and finalize for reopen */
#define NBDKIT_GENERATION_J 1700  /* 1.25.8, 1.26, 1.28: cleanup; get_ready, after_fork without next */
#define NBDKIT_GENERATION_K 1800  /* 1.29.16, 1.30 to 1.34: block_size */
#define NBDKIT_GENERATION_L 1900  /* 1.35.9, 1.36 to 1.42: dump_plugin */
#define NBDKIT_GENERATION_M 2000  /* 1.43.9, 1.44 to 1.48: thread_model is told the next layer's */

#ifdef NBDKIT_FILTER_API_VERSION
#if NBDKIT_FILTER_API_VERSION != 1 && NBDKIT_FILTER_API_VERSION != 2                               \
    && NBDKIT_FILTER_API_VERSION != 4 && NBDKIT_FILTER_API_VERSION != 5                            \
    && NBDKIT_FILTER_API_VERSION != 6
#error "NBDKIT_FILTER_API_VERSION must be 1 (nbdkit 1.2), 2 (1.4 to 1.10), 4 (1.12), 5 (1.14) or 6 (1.16 and later)"
#endif
#endif

/* NBDKIT_FILTER_GENERATION_DEFAULT comes from nbdkit.pc, and does not overrule the source. */
#ifndef NBDKIT_FILTER_GENERATION
#if defined(NBDKIT_FILTER_API_VERSION) && NBDKIT_FILTER_API_VERSION == 2
#define NBDKIT_FILTER_GENERATION NBDKIT_GENERATION_C
#elif defined(NBDKIT_FILTER_API_VERSION) && NBDKIT_FILTER_API_VERSION == 4
#define NBDKIT_FILTER_GENERATION NBDKIT_GENERATION_D
#elif defined(NBDKIT_FILTER_API_VERSION) && NBDKIT_FILTER_API_VERSION == 5
#define NBDKIT_FILTER_GENERATION NBDKIT_GENERATION_E
#elif defined(NBDKIT_FILTER_API_VERSION) && NBDKIT_FILTER_API_VERSION == 6
#if defined(NBDKIT_FILTER_GENERATION_DEFAULT)                                                      \
    && NBDKIT_FILTER_GENERATION_DEFAULT >= NBDKIT_GENERATION_F0
#define NBDKIT_FILTER_GENERATION NBDKIT_FILTER_GENERATION_DEFAULT
#else
#define NBDKIT_FILTER_GENERATION NBDKIT_GENERATION_M
#endif
#elif defined(NBDKIT_FILTER_GENERATION_DEFAULT) && !defined(NBDKIT_FILTER_API_VERSION)
#if defined(THREAD_MODEL) && NBDKIT_FILTER_GENERATION_DEFAULT >= NBDKIT_GENERATION_E
#error "THREAD_MODEL is of filters for nbdkit 1.2 to 1.12: define NBDKIT_FILTER_API_VERSION before the include, as 1 (nbdkit 1.2), 2 (1.4 to 1.10), 4 (1.12), or, where .thread_model is meant instead, 6"
#endif
#define NBDKIT_FILTER_GENERATION NBDKIT_FILTER_GENERATION_DEFAULT
/* A source that names the struct of two pointers is older than nbdkit 1.26. Here it says so itself. */
#if NBDKIT_FILTER_GENERATION >= NBDKIT_GENERATION_i1 && defined(__GNUC__)
#define NBDKIT_FILTER_IS_OLD_                                                                      \
  _Pragma ("GCC error \"struct nbdkit_next_ops is of filters for nbdkit 1.24 and earlier: define NBDKIT_FILTER_API_VERSION before the include, as 1 (callbacks without flags and err), 2 (nbdkit 1.4 to 1.10), 4 (1.12) or 5 (1.14), or NBDKIT_FILTER_GENERATION as NBDKIT_GENERATION_F (1.16), _G (1.18, 1.20), _H (1.22) or _I (1.24)\"")
#endif
#elif defined(THREAD_MODEL)
#define NBDKIT_FILTER_GENERATION NBDKIT_GENERATION_A
#else
#define NBDKIT_FILTER_GENERATION NBDKIT_GENERATION_S
#define NBDKIT_FILTER_WITHOUT_THREAD_MODEL_
#endif
/* And one that names what replaced it is not older. */
#if NBDKIT_FILTER_GENERATION < NBDKIT_GENERATION_i1 && !defined(NBDKIT_FILTER_API_VERSION)         \
    && defined(__GNUC__)
#define NBDKIT_FILTER_IS_NEW_                                                                      \
  _Pragma ("GCC error \"nbdkit_next is of filters for nbdkit 1.26 and later: define NBDKIT_FILTER_API_VERSION as 6 before the include (1.44 and later), or NBDKIT_FILTER_GENERATION as NBDKIT_GENERATION_J (1.26, 1.28), _K (1.30 to 1.34) or _L (1.36 to 1.42), or compile with what pkg-config --cflags nbdkit prints\"")
#endif
#endif
#if NBDKIT_FILTER_GENERATION % 100 != 0 || NBDKIT_FILTER_GENERATION < NBDKIT_GENERATION_S          \
    || NBDKIT_FILTER_GENERATION > NBDKIT_GENERATION_M
#error "NBDKIT_FILTER_GENERATION must be NBDKIT_GENERATION_S or another one of nbdkit-filter.h"
#endif

/* What _api_version becomes. It was raised for the first releases of a new layout only until 1.16. */
#if NBDKIT_FILTER_GENERATION >= NBDKIT_GENERATION_F0
#define NBDKIT_FILTER_API_VERSION_ 6
#elif NBDKIT_FILTER_GENERATION >= NBDKIT_GENERATION_E
#define NBDKIT_FILTER_API_VERSION_ 5
#elif NBDKIT_FILTER_GENERATION >= NBDKIT_GENERATION_D
#define NBDKIT_FILTER_API_VERSION_ 4
#elif NBDKIT_FILTER_GENERATION >= NBDKIT_GENERATION_B
#define NBDKIT_FILTER_API_VERSION_ 2
#else
#define NBDKIT_FILTER_API_VERSION_ 1
#endif
#ifndef NBDKIT_FILTER_API_VERSION
#define NBDKIT_FILTER_API_VERSION NBDKIT_FILTER_API_VERSION_
#elif NBDKIT_FILTER_API_VERSION != NBDKIT_FILTER_API_VERSION_
#if NBDKIT_FILTER_API_VERSION == 1
#error "NBDKIT_FILTER_API_VERSION is 1, so NBDKIT_FILTER_GENERATION must be NBDKIT_GENERATION_S or _A: change one of the two, or define only one"
#elif NBDKIT_FILTER_API_VERSION == 2
#error "NBDKIT_FILTER_API_VERSION is 2, so NBDKIT_FILTER_GENERATION must be NBDKIT_GENERATION_B or _C: change one of the two, or define only one"
#elif NBDKIT_FILTER_API_VERSION == 4
#error "NBDKIT_FILTER_API_VERSION is 4, so NBDKIT_FILTER_GENERATION must be NBDKIT_GENERATION_D: change one of the two, or define only one"
#elif NBDKIT_FILTER_API_VERSION == 5
#error "NBDKIT_FILTER_API_VERSION is 5, so NBDKIT_FILTER_GENERATION must be NBDKIT_GENERATION_E: change one of the two, or define only one"
#else
#error "NBDKIT_FILTER_API_VERSION is 6, so NBDKIT_FILTER_GENERATION must be NBDKIT_GENERATION_F0 or a later one: change one of the two, or define only one"
#endif
#endif

/* The release that the filter is for: the last one of the generation, but the one that is most widely
 * installed for K. */
#if NBDKIT_FILTER_GENERATION >= NBDKIT_GENERATION_F0
#define NBDKIT_VERSION_MAJOR 1
#if NBDKIT_FILTER_GENERATION == NBDKIT_GENERATION_F0
#define NBDKIT_VERSION_MINOR 15
#define NBDKIT_VERSION_MICRO 1
#elif NBDKIT_FILTER_GENERATION == NBDKIT_GENERATION_F
#define NBDKIT_VERSION_MINOR 16
#define NBDKIT_VERSION_MICRO 6
#elif NBDKIT_FILTER_GENERATION == NBDKIT_GENERATION_f1
#define NBDKIT_VERSION_MINOR 17
#define NBDKIT_VERSION_MICRO 11
#elif NBDKIT_FILTER_GENERATION == NBDKIT_GENERATION_G
#define NBDKIT_VERSION_MINOR 21
#define NBDKIT_VERSION_MICRO 11
#elif NBDKIT_FILTER_GENERATION == NBDKIT_GENERATION_g1
#define NBDKIT_VERSION_MINOR 21
#define NBDKIT_VERSION_MICRO 19
#elif NBDKIT_FILTER_GENERATION == NBDKIT_GENERATION_g2
#define NBDKIT_VERSION_MINOR 21
#define NBDKIT_VERSION_MICRO 21
#elif NBDKIT_FILTER_GENERATION == NBDKIT_GENERATION_g3
#define NBDKIT_VERSION_MINOR 21
#define NBDKIT_VERSION_MICRO 23
#elif NBDKIT_FILTER_GENERATION == NBDKIT_GENERATION_H
#define NBDKIT_VERSION_MINOR 23
#define NBDKIT_VERSION_MICRO 5
#elif NBDKIT_FILTER_GENERATION == NBDKIT_GENERATION_I
#define NBDKIT_VERSION_MINOR 25
#define NBDKIT_VERSION_MICRO 3
#elif NBDKIT_FILTER_GENERATION == NBDKIT_GENERATION_i1
#define NBDKIT_VERSION_MINOR 25
#define NBDKIT_VERSION_MICRO 7
#elif NBDKIT_FILTER_GENERATION == NBDKIT_GENERATION_J
#define NBDKIT_VERSION_MINOR 29
#define NBDKIT_VERSION_MICRO 15
#elif NBDKIT_FILTER_GENERATION == NBDKIT_GENERATION_K
#define NBDKIT_VERSION_MINOR 32
#define NBDKIT_VERSION_MICRO 5
#elif NBDKIT_FILTER_GENERATION == NBDKIT_GENERATION_L
#define NBDKIT_VERSION_MINOR 43
#define NBDKIT_VERSION_MICRO 8
#elif NBDKIT_FILTER_GENERATION == NBDKIT_GENERATION_M
#define NBDKIT_VERSION_MINOR 48
#define NBDKIT_VERSION_MICRO 1
#endif
#ifndef NBDKIT_FILTER_VERSION
#define NBDKIT_FILTER_VERSION                                                                      \
  NBDKIT_DOTTED_ (NBDKIT_VERSION_MAJOR, NBDKIT_VERSION_MINOR, NBDKIT_VERSION_MICRO)
#endif
#define NBDKIT_VERSION_STRING NBDKIT_FILTER_VERSION
#endif

#endif /* NBDKIT_FILTER_GENERATIONS_H */

/* The layouts of struct nbdkit_filter, and which of them the source chooses: nbdkit-filter.h says how.
 *
 * Usable from C90, C11 and C++. Do not include it yourself: nbdkit-filter.h does.
 *
 * SPDX-License-Identifier: BSD-3-Clause
 */
#ifndef NBDKIT_FILTER_RELEASES_H
#define NBDKIT_FILTER_RELEASES_H

/* In order of time, each by the first release that has it: the first stable one, or a development release
 * if no stable one has it. The comments say which releases have the layout, and what is new. */
#define NBDKIT_FILTER_RELEASE_ORIGINAL 100 /* before nbdkit had filters */
#define NBDKIT_FILTER_RELEASE_1_2 200      /* 1.1.27 to 1.2: open calls the next layer; _thread_model */
#define NBDKIT_FILTER_RELEASE_1_4 300      /* 1.3.0 to 1.9.8: flags and err; can_zero, can_fua; no _struct_size */
#define NBDKIT_FILTER_RELEASE_1_10 400     /* 1.9.9 to 1.11.9: can_multi_conn */
#define NBDKIT_FILTER_RELEASE_1_12 500     /* 1.11.10 to 1.13.3: can_extents, extents */
#define NBDKIT_FILTER_RELEASE_1_14 600     /* 1.13.4 to 1.14: can_cache, cache; thread_model for _thread_model */
#define NBDKIT_FILTER_RELEASE_1_15_1 700   /* _version for version; can_fast_zero; readonly for prepare */
#define NBDKIT_FILTER_RELEASE_1_16 800     /* 1.15.2 to 1.16: reopen of the next layer */
#define NBDKIT_FILTER_RELEASE_1_17_1 900   /* 1.17.1 to 1.17.11: preconnect */
#define NBDKIT_FILTER_RELEASE_1_18 1000    /* 1.18.0 to 1.21.11: get_ready */
#define NBDKIT_FILTER_RELEASE_1_21_12 1100 /* 1.21.12 to 1.21.19: after_fork */
#define NBDKIT_FILTER_RELEASE_1_21_20 1200 /* 1.21.20 to 1.21.21: exportname for open */
#define NBDKIT_FILTER_RELEASE_1_21_22 1300 /* 1.21.22 to 1.21.23: list_exports */
#define NBDKIT_FILTER_RELEASE_1_22 1400    /* 1.21.24 to 1.23.5: is_tls for open, thread_model for get_ready */
#define NBDKIT_FILTER_RELEASE_1_24 1500    /* 1.23.6 to 1.25.3: default_export, export_description */
#define NBDKIT_FILTER_RELEASE_1_25_4 1600  /* 1.25.4 to 1.25.7: one nbdkit_next; prepare and finalize */
#define NBDKIT_FILTER_RELEASE_1_26 1700    /* 1.25.8 to 1.29.15: cleanup; get_ready, after_fork without next */
#define NBDKIT_FILTER_RELEASE_1_30 1800    /* 1.29.16 to 1.35.8: block_size */
#define NBDKIT_FILTER_RELEASE_1_36 1900    /* 1.35.9 to 1.43.8: dump_plugin */
#define NBDKIT_FILTER_RELEASE_1_44 2000    /* 1.43.9 to 1.48.1: thread_model is told the next layer's */
#define NBDKIT_FILTER_NEWEST_ NBDKIT_FILTER_RELEASE_1_44

#include <nbdkit-filter-generations.h>

#ifdef NBDKIT_FILTER_API_VERSION
#if NBDKIT_FILTER_API_VERSION != 1 && NBDKIT_FILTER_API_VERSION != 2                               \
    && NBDKIT_FILTER_API_VERSION != 4 && NBDKIT_FILTER_API_VERSION != 5                            \
    && NBDKIT_FILTER_API_VERSION != 6
#error "NBDKIT_FILTER_API_VERSION must be 1 (nbdkit 1.2), 2 (1.4 to 1.10), 4 (1.12), 5 (1.14) or 6 (1.16 and later)"
#endif
#endif

/* NBDKIT_FILTER_RELEASE_DEFAULT comes from nbdkit.pc, and does not overrule the source. */
#ifndef NBDKIT_FILTER_RELEASE
#if defined(NBDKIT_FILTER_API_VERSION) && NBDKIT_FILTER_API_VERSION == 2
#define NBDKIT_FILTER_RELEASE NBDKIT_FILTER_RELEASE_1_10
#elif defined(NBDKIT_FILTER_API_VERSION) && NBDKIT_FILTER_API_VERSION == 4
#define NBDKIT_FILTER_RELEASE NBDKIT_FILTER_RELEASE_1_12
#elif defined(NBDKIT_FILTER_API_VERSION) && NBDKIT_FILTER_API_VERSION == 5
#define NBDKIT_FILTER_RELEASE NBDKIT_FILTER_RELEASE_1_14
#elif defined(NBDKIT_FILTER_API_VERSION) && NBDKIT_FILTER_API_VERSION == 6
#if defined(NBDKIT_FILTER_RELEASE_DEFAULT)                                                         \
    && NBDKIT_FILTER_RELEASE_DEFAULT >= NBDKIT_FILTER_RELEASE_1_15_1
#define NBDKIT_FILTER_RELEASE NBDKIT_FILTER_RELEASE_DEFAULT
#else
#define NBDKIT_FILTER_RELEASE NBDKIT_FILTER_NEWEST_
#endif
#elif defined(NBDKIT_FILTER_RELEASE_DEFAULT) && !defined(NBDKIT_FILTER_API_VERSION)
#if defined(THREAD_MODEL) && NBDKIT_FILTER_RELEASE_DEFAULT >= NBDKIT_FILTER_RELEASE_1_14
#error "THREAD_MODEL is of filters for nbdkit 1.2 to 1.12: define NBDKIT_FILTER_API_VERSION before the include, as 1 (nbdkit 1.2), 2 (1.4 to 1.10), 4 (1.12), or, where .thread_model is meant instead, 6"
#endif
#define NBDKIT_FILTER_RELEASE NBDKIT_FILTER_RELEASE_DEFAULT
/* A source that names the struct of two pointers is older than nbdkit 1.26. Here it says so itself. */
#if NBDKIT_FILTER_RELEASE >= NBDKIT_FILTER_RELEASE_1_25_4 && defined(__GNUC__)
#define NBDKIT_FILTER_IS_OLD_                                                                      \
  _Pragma ("GCC error \"struct nbdkit_next_ops is of filters for nbdkit 1.24 and earlier: define NBDKIT_FILTER_API_VERSION before the include, as 1 (callbacks without flags and err), 2 (nbdkit 1.4 to 1.10), 4 (1.12) or 5 (1.14), or NBDKIT_FILTER_RELEASE as NBDKIT_FILTER_RELEASE_1_16, _1_18 (1.18, 1.20), _1_22 or _1_24\"")
#endif
#elif defined(THREAD_MODEL)
#define NBDKIT_FILTER_RELEASE NBDKIT_FILTER_RELEASE_1_2
#else
#define NBDKIT_FILTER_RELEASE NBDKIT_FILTER_RELEASE_ORIGINAL
#define NBDKIT_FILTER_WITHOUT_THREAD_MODEL_
#endif
/* And one that names what replaced it is not older. */
#if NBDKIT_FILTER_RELEASE < NBDKIT_FILTER_RELEASE_1_25_4 && !defined(NBDKIT_FILTER_API_VERSION)    \
    && defined(__GNUC__)
#define NBDKIT_FILTER_IS_NEW_                                                                      \
  _Pragma ("GCC error \"nbdkit_next is of filters for nbdkit 1.26 and later: define NBDKIT_FILTER_API_VERSION as 6 before the include (the newest layout), or NBDKIT_FILTER_RELEASE as NBDKIT_FILTER_RELEASE_1_26 (1.26, 1.28) or a later one, or compile with what pkg-config --cflags nbdkit prints\"")
#endif
#endif
#if NBDKIT_FILTER_RELEASE % 100 != 0 || NBDKIT_FILTER_RELEASE < NBDKIT_FILTER_RELEASE_ORIGINAL     \
    || NBDKIT_FILTER_RELEASE > NBDKIT_FILTER_NEWEST_
#error "NBDKIT_FILTER_RELEASE must be a macro of nbdkit-filter-releases.h: NBDKIT_FILTER_RELEASE_ORIGINAL, or the first release with a layout, such as NBDKIT_FILTER_RELEASE_1_30 for nbdkit 1.30 to 1.34"
#endif

/* What _api_version becomes. It was raised for the first releases of a new layout only until 1.16. */
#if NBDKIT_FILTER_RELEASE >= NBDKIT_FILTER_RELEASE_1_15_1
#define NBDKIT_FILTER_API_VERSION_ 6
#elif NBDKIT_FILTER_RELEASE >= NBDKIT_FILTER_RELEASE_1_14
#define NBDKIT_FILTER_API_VERSION_ 5
#elif NBDKIT_FILTER_RELEASE >= NBDKIT_FILTER_RELEASE_1_12
#define NBDKIT_FILTER_API_VERSION_ 4
#elif NBDKIT_FILTER_RELEASE >= NBDKIT_FILTER_RELEASE_1_4
#define NBDKIT_FILTER_API_VERSION_ 2
#else
#define NBDKIT_FILTER_API_VERSION_ 1
#endif
#ifndef NBDKIT_FILTER_API_VERSION
#define NBDKIT_FILTER_API_VERSION NBDKIT_FILTER_API_VERSION_
#elif NBDKIT_FILTER_API_VERSION != NBDKIT_FILTER_API_VERSION_
#if NBDKIT_FILTER_API_VERSION == 1
#error "NBDKIT_FILTER_API_VERSION is 1, so NBDKIT_FILTER_RELEASE must be NBDKIT_FILTER_RELEASE_ORIGINAL or _1_2: change one of the two, or define only one"
#elif NBDKIT_FILTER_API_VERSION == 2
#error "NBDKIT_FILTER_API_VERSION is 2, so NBDKIT_FILTER_RELEASE must be NBDKIT_FILTER_RELEASE_1_4 or _1_10: change one of the two, or define only one"
#elif NBDKIT_FILTER_API_VERSION == 4
#error "NBDKIT_FILTER_API_VERSION is 4, so NBDKIT_FILTER_RELEASE must be NBDKIT_FILTER_RELEASE_1_12: change one of the two, or define only one"
#elif NBDKIT_FILTER_API_VERSION == 5
#error "NBDKIT_FILTER_API_VERSION is 5, so NBDKIT_FILTER_RELEASE must be NBDKIT_FILTER_RELEASE_1_14: change one of the two, or define only one"
#else
#error "NBDKIT_FILTER_API_VERSION is 6, so NBDKIT_FILTER_RELEASE must be NBDKIT_FILTER_RELEASE_1_15_1 or a later one: change one of the two, or define only one"
#endif
#endif

/* The release that the filter claims to be compiled for: the last one with the layout, but for
 * NBDKIT_FILTER_RELEASE_1_30 the one that is most widely installed. */
#if NBDKIT_FILTER_RELEASE >= NBDKIT_FILTER_RELEASE_1_15_1
#define NBDKIT_VERSION_MAJOR 1
#if NBDKIT_FILTER_RELEASE == NBDKIT_FILTER_RELEASE_1_15_1
#define NBDKIT_VERSION_MINOR 15
#define NBDKIT_VERSION_MICRO 1
#elif NBDKIT_FILTER_RELEASE == NBDKIT_FILTER_RELEASE_1_16
#define NBDKIT_VERSION_MINOR 16
#define NBDKIT_VERSION_MICRO 6
#elif NBDKIT_FILTER_RELEASE == NBDKIT_FILTER_RELEASE_1_17_1
#define NBDKIT_VERSION_MINOR 17
#define NBDKIT_VERSION_MICRO 11
#elif NBDKIT_FILTER_RELEASE == NBDKIT_FILTER_RELEASE_1_18
#define NBDKIT_VERSION_MINOR 21
#define NBDKIT_VERSION_MICRO 11
#elif NBDKIT_FILTER_RELEASE == NBDKIT_FILTER_RELEASE_1_21_12
#define NBDKIT_VERSION_MINOR 21
#define NBDKIT_VERSION_MICRO 19
#elif NBDKIT_FILTER_RELEASE == NBDKIT_FILTER_RELEASE_1_21_20
#define NBDKIT_VERSION_MINOR 21
#define NBDKIT_VERSION_MICRO 21
#elif NBDKIT_FILTER_RELEASE == NBDKIT_FILTER_RELEASE_1_21_22
#define NBDKIT_VERSION_MINOR 21
#define NBDKIT_VERSION_MICRO 23
#elif NBDKIT_FILTER_RELEASE == NBDKIT_FILTER_RELEASE_1_22
#define NBDKIT_VERSION_MINOR 23
#define NBDKIT_VERSION_MICRO 5
#elif NBDKIT_FILTER_RELEASE == NBDKIT_FILTER_RELEASE_1_24
#define NBDKIT_VERSION_MINOR 25
#define NBDKIT_VERSION_MICRO 3
#elif NBDKIT_FILTER_RELEASE == NBDKIT_FILTER_RELEASE_1_25_4
#define NBDKIT_VERSION_MINOR 25
#define NBDKIT_VERSION_MICRO 7
#elif NBDKIT_FILTER_RELEASE == NBDKIT_FILTER_RELEASE_1_26
#define NBDKIT_VERSION_MINOR 29
#define NBDKIT_VERSION_MICRO 15
#elif NBDKIT_FILTER_RELEASE == NBDKIT_FILTER_RELEASE_1_30
#define NBDKIT_VERSION_MINOR 32
#define NBDKIT_VERSION_MICRO 5
#elif NBDKIT_FILTER_RELEASE == NBDKIT_FILTER_RELEASE_1_36
#define NBDKIT_VERSION_MINOR 43
#define NBDKIT_VERSION_MICRO 8
#elif NBDKIT_FILTER_RELEASE == NBDKIT_FILTER_RELEASE_1_44
#define NBDKIT_VERSION_MINOR 48
#define NBDKIT_VERSION_MICRO 1
#else
#error "nbdkit-filter-releases.h has no NBDKIT_VERSION_MINOR for this layout"
#endif
#ifndef NBDKIT_FILTER_VERSION
#define NBDKIT_FILTER_VERSION                                                                      \
  NBDKIT_DOTTED_ (NBDKIT_VERSION_MAJOR, NBDKIT_VERSION_MINOR, NBDKIT_VERSION_MICRO)
#endif
#define NBDKIT_VERSION_STRING NBDKIT_FILTER_VERSION
#endif

#endif /* NBDKIT_FILTER_RELEASES_H */

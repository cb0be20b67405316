/* For the macro scanner: which of the two it is, depends on who includes it. */
#ifdef LARGE
#define LIMIT 2
#else
#define LIMIT 1
#endif
enum { refused_by_the_reader_too };

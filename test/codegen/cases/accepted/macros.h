/* Macros of every kind. */
#define GUARD
#define TEN 10 /* a comment */
#define MARKER 0x4e42
#define BIT (1 << 3)
#define TEXT "text"
#define CALL(x) (x)
#ifdef TEN
#  define INDENTED 1
#endif

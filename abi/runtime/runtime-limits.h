/* The tuned numbers of the native runtime, except those that JavaScript shares (RT_MAX_* in runtime.h). Units are in
 * the names; "bench" is a section of bench/README.md. */
#ifndef NBDKIT_BUN_RUNTIME_LIMITS_H
#define NBDKIT_BUN_RUNTIME_LIMITS_H

/* Idle request threads that are kept for later calls. Each takes some pages. bench: "Other figures", the last rows. */
#define MAX_IDLE_THREADS 64

/* Calls of a queue are long if they take more than this on average: a little more than JavaScript needs to send a call
 * and to handle its result, so that one thread would hold JavaScript up. Short calls are served by one thread. bench:
 * "Limits". */
#define LONG_CALL_NS 8000

/* The calls of the average. bench: "Limits". */
#define AVERAGED_CALLS 256

/* The most that one call adds to the average, since a busy machine may interrupt a short call. bench: "Limits". */
#define MAX_COUNTED_NS 1000000

/* Long calls after which a queue tries one thread again: threads that share few processors interrupt each other, which
 * makes short calls look long. bench: "Limits". */
#define LONG_CALLS_BEFORE_RETRY 4096

/* How often the watcher checks queues whose only thread may be stuck. bench: "Limits". */
#define WATCH_NS 1000000

/* How long a thread polls for the answer of an upcall before it sleeps, if JavaScript is polling as well. bench:
 * "Limits". */
#define ANSWER_POLL_MICROSECONDS 20

/* Freed pointers to layers that are kept, so that a late call through one is refused instead of reaching another
 * client's layer. bench: "What clients leave behind". */
#define MAX_FREED_NEXTS 4096

/* Modules in a chain. Each takes some words of static memory. choice: more than any chain has. */
#define MAX_MODULES 1024

/* Descriptors below this number are protected from modules; higher ones are not. Each takes 8 bytes of static memory
 * once it is used. choice: a server with more has thousands of clients. */
#define MAX_PROTECTED_DESCRIPTORS 65536

/* Descriptors below this number are protected at the start. source: Bun, which opens a few tens before. */
#define FIRST_DESCRIPTORS 1024

/* The part of a stack that is searched for return addresses in modules. choice: some hundred calls, so that a crash
 * names its module. */
#define SEARCHED_STACK_BYTES 65536

/* The stack of the crash handler. source: its largest frames, 5,000 bytes for a line and 4,096 for part of a stack. */
#define CRASH_STACK_BYTES 32768

/* How long a module's message waits for the reader of the log. choice: logPatienceMs in src/lib/limits.ts. */
#define LOG_PATIENCE_MS 2000

#endif /* NBDKIT_BUN_RUNTIME_LIMITS_H */

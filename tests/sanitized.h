/* Under the address sanitizer the emulation is ten times slower: there a suite repeats less of the same. */
#ifndef OSV_TESTS_SANITIZED_H
#define OSV_TESTS_SANITIZED_H

#ifdef __SANITIZE_ADDRESS__
enum { SANITIZED = 1 };
#else
enum { SANITIZED = 0 };
#endif

#endif

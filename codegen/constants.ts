/** The meaning of the headers' macros. The tables must match the headers one to one, like those of semantics.ts. */

/** The documentation of the request flags. TypeScript has a constant for each, with the same name but NBDKIT_. */
export const flags: Readonly<Record<string, string>> = {
  NBDKIT_FLAG_MAY_TRIM: "a zero request may punch a hole.",
  NBDKIT_FLAG_FUA: "the data is on stable storage before the request completes.",
  NBDKIT_FLAG_REQ_ONE: "one extent is enough.",
  NBDKIT_FLAG_FAST_ZERO: "fail with EOPNOTSUPP rather than write zeroes slowly.",
};

/** The macros with a prefix become one table in TypeScript. The rest of the macro's name is the key. */
export const tables: readonly {
  readonly name: string;
  readonly about: string;
  /** Macros with other prefixes must have the same keys and values. */
  readonly prefixes: readonly string[];
}[] = [
  {
    name: "threadModels",
    about: "by the words that nbdkit prints.",
    prefixes: ["NBDKIT_THREAD_MODEL_"],
  },
  {
    name: "supports",
    about: "the answers of can_zero, can_fua and can_cache in C.",
    prefixes: ["NBDKIT_FUA_", "NBDKIT_CACHE_", "NBDKIT_ZERO_"],
  },
  {
    name: "extentTypes",
    about: "bits.",
    prefixes: ["NBDKIT_EXTENT_"],
  },
];

/** The macros that become a number in TypeScript, with its name. */
export const numbers: Readonly<Record<string, { readonly name: string; readonly about: string }>> =
  {
    NBDKIT_FILTER_MARKER_ORIGINAL: {
      name: "filterMarkerOriginal",
      about:
        "the value that our header puts into the padding after _api_version in the original form.",
    },
  };

/** The macros that only C needs, each with the reason. */
export const onlyInC: Readonly<Record<string, string>> = {
  NBDKIT_API_VERSION: "chosen by the module's source; codegen reads the header under each of them",
  NBDKIT_API_VERSION_: "the same, whatever the source says after the include",
  NBDKIT_FILTER_RELEASE:
    "chosen by the module's source; codegen reads the header under each of them",
  NBDKIT_FILTER_NEWEST_: "the last of NBDKIT_FILTER_RELEASE_*; readModel compares them",
  NBDKIT_FILTER_API_VERSION: "of the chosen layout; TypeScript recognises all",
  NBDKIT_FILTER_API_VERSION_: "the same, whatever the source says after the include",
  NBDKIT_FILTER_IS_OLD_: "a message to authors",
  NBDKIT_FILTER_IS_NEW_: "a message to authors",
  NBDKIT_FILTER_IN_TIME_: "part of NBDKIT_REGISTER_FILTER",
  nbdkit_next_ops: "the struct's name, with a message where the source is for another release",
  nbdkit_next: "the type's name, with a message where the source is for another release",
  NBDKIT_FILTER_VERSION: "a string that the module's source may choose",
  NBDKIT_VERSION_MAJOR: "of the chosen layout",
  NBDKIT_VERSION_MINOR: "of the chosen layout",
  NBDKIT_VERSION_MICRO: "of the chosen layout",
  NBDKIT_VERSION_STRING: "a string",
  NBDKIT_TEXT_: "part of NBDKIT_VERSION_STRING",
  NBDKIT_SHOWN_: "whether a macro is defined, for NBDKIT_REGISTER_FILTER",
  NBDKIT_ASSERT_: "a check by the compiler",
  NBDKIT_DOTTED_: "part of NBDKIT_VERSION_STRING",
  NBDKIT_NXDATA_: "parameters of the chosen layout",
  NBDKIT_NEXT_: "parameters of the chosen layout",
  NBDKIT_FLAGS_: "parameters of the chosen layout",
  NBDKIT_FLAGS_OF_ZERO_: "parameters of the chosen layout",
  NBDKIT_CXX_LANG_C: "for C++",
  NBDKIT_HANDLE_NOT_NEEDED: "TypeScript's handles may be anything",
  NBDKIT_PRINTF_FORMAT_: "an attribute",
  NBDKIT_VISIBLE_: "an attribute",
  NBDKIT_DLL_PUBLIC: "an attribute",
  NBDKIT_REGISTER_PLUGIN: "defines a function",
  NBDKIT_REGISTER_FILTER: "defines a function",
  NBDKIT_FILTER_SET_ABI_: "part of NBDKIT_REGISTER_FILTER",
};

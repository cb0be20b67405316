/** Compiles the headers in src/sys beside those of the system: the compiler refuses a declaration that differs. */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { existsSync } from "node:fs";
import { cp } from "node:fs/promises";
import { join } from "node:path";

import { errnos } from "#lib/errno";

import { type CType, integers } from "../../codegen/ir.ts";
import { layoutOf } from "../../codegen/layout.ts";
import { integerOf } from "../../codegen/model.ts";
import { readSystem, type SystemHeader } from "../../codegen/system.ts";
import { cc, hasCompiler, needsCompiler, root, temporary } from "./compiler-fixture.ts";

// Compilers are slow on a busy machine.
setDefaultTimeout(60_000);

const gnutls = ["gnutls/gnutls.h", "gnutls/x509.h"];

/** The headers of the system with the same declarations. */
const theirs: Readonly<Record<SystemHeader["name"], readonly string[]>> = {
  libc: [
    "dlfcn.h",
    "errno.h",
    "fcntl.h",
    "grp.h",
    "linux/fs.h",
    "linux/mman.h",
    "netdb.h",
    "netinet/in.h",
    "poll.h",
    "pwd.h",
    "signal.h",
    "spawn.h",
    "stdio.h",
    "stdlib.h",
    "string.h",
    "sys/ioctl.h",
    "sys/mman.h",
    "sys/prctl.h",
    "sys/resource.h",
    "sys/socket.h",
    "sys/syscall.h",
    "sys/uio.h",
    "sys/un.h",
    "sys/wait.h",
    "syslog.h",
    "unistd.h",
    "linux/vm_sockets.h",
  ],
  gnutls,
  "gnutls-groups": gnutls,
  selinux: ["selinux/selinux.h"],
};

/** Declarations of Linux 6.3 and 6.5, which older headers of the system lack, and a macro that shows their age. */
const newer: Readonly<Record<string, string>> = {
  MFD_EXEC: "MFD_EXEC",
  SYS_cachestat: "SYS_cachestat",
  cachestat: "SYS_cachestat",
  cachestat_range: "SYS_cachestat",
};

const packages = { "gnutls/gnutls.h": "libgnutls28-dev", "selinux/selinux.h": "libselinux1-dev" };
const missing = Object.entries(packages).flatMap(([header, name]) =>
  existsSync(join("/usr/include", header)) ? [] : [name],
);
const needs = missing.length === 0 ? needsCompiler : ` (skipped: needs ${missing.join(", ")})`;

/** An assertion whose message is its condition. */
const assert = (condition: string) => `_Static_assert (${condition}, "${condition}");`;

/** C that compiles only if the system declares the same as the header. */
function comparison({ name, unit, functions, structs, macros }: SystemHeader): string {
  const guarded = (what: string, lines: readonly string[]) => {
    const guard = newer[what];
    return guard === undefined ? lines : [`#ifdef ${guard}`, ...lines, "#endif"];
  };
  const ofStructs = structs.map((struct) => {
    const type = unit.aliases.has(struct.name) ? struct.name : `struct ${struct.name}`;
    const { size, fields } = layoutOf(struct, unit);
    // Fields that only libc uses may have other names.
    const known = fields.filter((field) => field.name !== "reserved");
    return guarded(struct.name, [
      assert(`sizeof (${type}) == ${size}`),
      ...known.flatMap((field) => [
        assert(`offsetof (${type}, ${field.name}) == ${field.offset}`),
        assert(`sizeof (((${type} *) 0)->${field.name}) == ${field.size}`),
      ]),
    ]);
  });
  return [
    "#define _GNU_SOURCE",
    "#include <stddef.h>",
    ...theirs[name].map((header) => `#include <${header}>`),
    ...functions.map((own) => assert(`sizeof (&${own.name}) > 0`)),
    ...functions.map(({ text }) => `extern ${text};`),
    ...[...unit.aliases].map(([alias, type]) => sameType(alias, type)),
    ...macros.flatMap((macro) =>
      guarded(macro.name, [assert(`${macro.name} == ${integerOf(macro)}`)]),
    ),
    ...ofStructs.flat(),
    "",
  ].join("\n");
}

/** Compare the size and the sign of a type. The declarations above check the struct behind a pointer, and an enum. */
function sameType(alias: string, type: CType): string {
  switch (type.kind) {
    case "integer": {
      const { size, ffi } = integers[type.name];
      const sign = ffi.startsWith("i") ? "<" : ">";
      return assert(`sizeof (${alias}) == ${size}`) + assert(`(${alias}) -1 ${sign} 0`);
    }
    case "pointer":
      return `extern ${alias} a_${alias}; ${alias} a_${alias} = (void *) 0;`;
    default:
      return "";
  }
}

/** The errors of the compiler for the headers below `folder`. */
async function complaints(folder: string): Promise<string> {
  const compared = await Promise.all(
    (await readSystem(folder, true)).map((header) =>
      cc(["-std=c11", "-Werror", "-fsyntax-only"], comparison(header)),
    ),
  );
  return compared.map(({ stderr }) => stderr).join("");
}

describe.skipIf(!hasCompiler || missing.length > 0)(`headers of the system${needs}`, () => {
  test("agree with the declarations of ours", async () => {
    expect(await complaints(root)).toBe("");
  });

  test.each([
    ["libc.h", "size_t count, off_t offset);", "size_t count);", "conflicting types for 'pread'"],
    ["libc.h", "off_t offset, int whence", "int offset, int whence", "types for 'lseek'"],
    ["libc.h", "int op, SYS_REST (int arg)", "int op, int arg", "types for 'fcntl'"],
    ["libc.h", "#define O_NONBLOCK 0x800", "#define O_NONBLOCK 0x400", "O_NONBLOCK == 1024"],
    ["libc.h", "  char *pw_passwd;\n", "", "offsetof (struct passwd, pw_uid) == 8"],
    ["libc.h", "int16_t revents", "int32_t revents", "sizeof (struct pollfd) == 12"],
    ["libc.h", "typedef unsigned uid_t", "typedef uint64_t uid_t", "sizeof (uid_t) == 8"],
    ["libc.h", "typedef int pid_t", "typedef unsigned pid_t", "(pid_t) -1 > 0"],
    ["libc.h", "fdatasync", "fdatasynch", "'fdatasynch' undeclared"],
    ["gnutls.h", "GNUTLS_E_AGAIN -28", "GNUTLS_E_AGAIN -27", "GNUTLS_E_AGAIN == -27"],
    ["gnutls.h", "ssize_t (*push)", "int (*push)", "'gnutls_transport_set_push_function'"],
    ["gnutls.h", "typedef void *gnutls_session_t", "typedef int gnutls_session_t", "-1 < 0"],
    ["gnutls.h", "*session, unsigned flags", "*session", "types for 'gnutls_init'"],
    ["gnutls-groups.h", "const unsigned **list", "unsigned **list", "'gnutls_priority_group_list'"],
    ["selinux.h", "const char *context", "int context", "types for 'setsockcreatecon'"],
  ])("disagree with %s if %j is %j", async (file, from, to, complaint) => {
    await using copy = await temporary();
    for (const { path } of await readSystem(root)) {
      await cp(join(root, path), join(copy.path, path), { recursive: true });
    }
    const path = join(copy.path, "src/sys", file);
    const text = await Bun.file(path).text();
    expect(text).toContain(from);
    await Bun.write(path, text.replace(from, to));
    expect((await complaints(copy.path)).replaceAll(/[‘’]/g, "'")).toContain(complaint);
  });

  test("have the same error numbers", async () => {
    const asserts = Object.entries(errnos).map(([name, number]) => assert(`${name} == ${number}`));
    const source = ["#include <errno.h>", ...asserts, ""].join("\n");
    expect((await cc(["-fsyntax-only"], source)).stderr).toBe("");
  });

  test("declare gnutls_free like free", async () => {
    const source =
      "#include <gnutls/gnutls.h>\n#include <stdlib.h>\n" +
      "extern void (*function) (void *);\nvoid (*function) (void *) = free;\n" +
      "extern gnutls_free_function *pointer;\ngnutls_free_function *pointer = &gnutls_free;\n" +
      assert("__builtin_types_compatible_p (gnutls_free_function, __typeof__ (function))");
    expect((await cc(["-std=c11", "-Werror", "-fsyntax-only"], source)).stderr).toBe("");
  });
});

/** The URI and the shell variables that --run gives to its command. */
import { describe, expect, test } from "bun:test";

import { run } from "#test/server";
import { defaults } from "#test/settings";

import { shellVariables } from "../../src/cli/captive.ts";
import { printedUris, uriOf, type UriOptions } from "../../src/cli/uri.ts";
import type { Address } from "../../src/server/sockets.ts";

interface Options {
  readonly exportName?: string;
  readonly ipFamily?: 4 | 6;
  readonly tls?: Partial<UriOptions["tls"]>;
}

/** Options without TLS, unless `tls` says otherwise. */
const withDefaults = ({ exportName = "", ipFamily, tls }: Options): UriOptions => ({
  exportName,
  sockets: { ...defaults.sockets, ipFamily },
  tls: { ...defaults.tls, mode: "off", ...tls },
});

interface Where extends Options {
  readonly address: Address;
}

const unix = (path: string, exportName = ""): Where => ({ address: { unix: path }, exportName });
const tcp = (port: number, exportName = "", address?: string): Where => ({
  address: { port, ...(address === undefined ? {} : { address }) },
  exportName,
});

describe("the URI", () => {
  const uris: readonly (readonly [Where, string])[] = [
    [unix("/tmp/s"), "nbd+unix://?socket=/tmp/s"],
    [unix("/tmp/s", "disk"), "nbd+unix:///disk?socket=/tmp/s"],
    [unix("/a b/é&?#+%"), "nbd+unix://?socket=/a%20b/%C3%A9%26%3F%23%2B%25"],
    [unix("/s", "a/b c!'()*~-_."), "nbd+unix:///a/b%20c%21%27%28%29%2A~-_.?socket=/s"],
    [tcp(10809), "nbd://localhost:10809"],
    [tcp(1, "x y"), "nbd://localhost:1/x%20y"],
    [tcp(1, "", "::1"), "nbd://[::1]:1"],
    [tcp(1, "", "::"), "nbd://[::1]:1"],
    [tcp(1, "", "localhost"), "nbd://localhost:1"],
    [{ address: { port: 1 }, ipFamily: 6 }, "nbd://[::1]:1"],
    [{ address: { port: 1 }, ipFamily: 4 }, "nbd://localhost:1"],
    [{ address: { port: 1, address: "localhost" }, ipFamily: 4 }, "nbd://localhost:1"],
    [tcp(1, "", "0.0.0.0"), "nbd://localhost:1"],
    [tcp(1, "", "192.0.2.1"), "nbd://192.0.2.1:1"],
    [tcp(1, "e", "2001:db8::1"), "nbd://[2001:db8::1]:1/e"],
    [tcp(1, "", "fe80::1%eth0"), "nbd://[fe80::1%25eth0]:1"],
    [unix("/s", "\udcff"), "nbd+unix:///%FF?socket=/s"],
    [{ address: { vsock: 5 }, exportName: "e" }, "nbd+vsock://1:5/e"],
    [{ address: { port: 1 }, tls: { mode: "on" } }, "nbd://localhost:1"],
    [{ address: { port: 1 }, tls: { mode: "require" } }, "nbds://localhost:1"],
    [
      { address: { port: 1 }, tls: { mode: "require", certificates: "/a b" } },
      "nbds://localhost:1?tls-certificates=/a%20b",
    ],
    [
      { address: { unix: "/s" }, tls: { mode: "require", certificates: "/c", psk: "/k" } },
      "nbds+unix://?socket=/s&tls-psk-file=/k",
    ],
    [{ address: { port: 1 }, tls: { certificates: "/c" } }, "nbd://localhost:1"],
    [{ address: { port: 1 }, tls: { mode: "on", psk: "k" } }, "nbd://localhost:1"],
    [
      { address: { port: 1 }, tls: { mode: "require", psk: "k/k" } },
      "nbds://localhost:1?tls-psk-file=k/k",
    ],
  ];
  test.each(uris)("of %j is %s", ({ address, ...options }, uri) => {
    expect(uriOf(address, withDefaults(options))).toBe(uri);
  });

  test("is printed plain, quoted for a shell, and in a command", () => {
    expect(printedUris([{ unix: "/s" }, { port: 1 }], withDefaults({}))).toBe(
      'nbd+unix://?socket=/s\nShell-quoted URI: "nbd+unix://?socket=/s"\n' +
        'Command to query the NBD endpoint:\n  nbdinfo "nbd+unix://?socket=/s"\n' +
        "nbd://localhost:1\nShell-quoted URI: nbd://localhost:1\n" +
        "Command to query the NBD endpoint:\n  nbdinfo nbd://localhost:1\n",
    );
  });
});

describe("the shell variables", () => {
  const show =
    'printf "%s|" "$uri" "$nbd" "$exportname" "$port" "$unixsocket"; env | grep -c ^uri=';
  const variables = ({ address, ...options }: Where) =>
    shellVariables({ address, ...withDefaults(options) });
  const seen = (where: Where) => run(["/bin/sh", "-c", variables(where) + show]);

  test("of a Unix socket keep every character of its path and of the export name", async () => {
    const path = `/tmp/it's "$HOME" \`x\` \\`;
    const uri = uriOf({ unix: path }, withDefaults({ exportName: "a'b\nc" }));
    expect(await seen(unix(path, "a'b\nc"))).toEqual({
      code: 1,
      stdout: `${uri}|${uri}|a'b\nc||${path}|0\n`,
      stderr: "",
    });
  });

  test("of a TCP socket include its port", async () => {
    expect(await seen(tcp(10810, "e"))).toEqual({
      code: 1,
      stdout: "nbd://localhost:10810/e|nbd://localhost:10810/e|e|10810||0\n",
      stderr: "",
    });
  });

  test.each([
    [{}, "unset||"],
    [{ tls: { mode: "on" } }, "1||"],
    [{ tls: { mode: "require", certificates: "/c", psk: "/k" } }, "2|/c|/k"],
  ] as const)("say whether TLS is on: %j", async (options, stdout) => {
    const where = { address: { unix: "/s" }, ...options };
    const script = 'printf "%s|" "${tls-unset}" "$tls_certificates"; printf %s "$tls_psk"';
    expect(await run(["/bin/sh", "-c", variables(where) + script])).toEqual({
      code: 0,
      stdout,
      stderr: "",
    });
  });
});

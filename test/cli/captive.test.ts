/** What the command of --run is told, as a shell sees it. */
import { describe, expect, test } from "bun:test";

import { run } from "#test/server";

import { type CaptiveAddress, shellVariables, uriOf } from "../../src/cli/captive.ts";

const unix = (path: string, exportName = ""): CaptiveAddress => ({
  address: { unix: path },
  exportName,
});
const tcp = (port: number, exportName = "", host?: string): CaptiveAddress => ({
  address: { port },
  exportName,
  host,
});

describe("the URI", () => {
  test.each([
    [unix("/tmp/s"), "nbd+unix://?socket=/tmp/s"],
    [unix("/tmp/s", "disk"), "nbd+unix:///disk?socket=/tmp/s"],
    [unix("/a b/é&?#+%"), "nbd+unix://?socket=/a%20b/%C3%A9%26%3F%23%2B%25"],
    [unix("/s", "a/b c!'()*~-_."), "nbd+unix:///a/b%20c%21%27%28%29%2A~-_.?socket=/s"],
    [tcp(10809), "nbd://localhost:10809"],
    [tcp(1, "x y"), "nbd://localhost:1/x%20y"],
    [tcp(1, "", "::1"), "nbd://localhost:1"],
    [tcp(1, "", "0.0.0.0"), "nbd://localhost:1"],
    [tcp(1, "", "192.0.2.1"), "nbd://192.0.2.1:1"],
    [tcp(1, "e", "2001:db8::1"), "nbd://[2001:db8::1]:1/e"],
  ])("%j", (where, uri) => {
    expect(uriOf(where)).toBe(uri);
  });
});

describe("the variables", () => {
  const show =
    'printf "%s|" "$uri" "$nbd" "$exportname" "$port" "$unixsocket"; env | grep -c ^uri=';
  const seen = (where: CaptiveAddress) => run(["/bin/sh", "-c", shellVariables(where) + show]);

  test("of a Unix socket, whatever is in its path and in the name of the export", async () => {
    const path = `/tmp/it's "$HOME" \`x\` \\`;
    const uri = uriOf(unix(path, "a'b\nc"));
    expect(await seen(unix(path, "a'b\nc"))).toEqual({
      code: 1,
      stdout: `${uri}|${uri}|a'b\nc||${path}|0\n`,
      stderr: "",
    });
  });

  test("of a TCP port", async () => {
    expect(await seen(tcp(10810, "e"))).toEqual({
      code: 1,
      stdout: "nbd://localhost:10810/e|nbd://localhost:10810/e|e|10810||0\n",
      stderr: "",
    });
  });
});

/** debianMirror reads both forms of apt's list of sources. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { debianMirror } from "./debian-mirror.ts";

const usual = "/usr/share/keyrings/debian-archive-keyring.gpg";
/** The name of this release. Systems unlike Debian may have none. */
const codename = /^VERSION_CODENAME=(.*)$/m.exec(readFileSync("/etc/os-release", "utf8"))?.[1];

let folder = "";
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "nbdkit-mirror-"));
});
afterAll(() => {
  rmSync(folder, { recursive: true });
});

/** The mirror in an /etc/apt with these files. */
function found(name: string, files: Readonly<Record<string, string>>) {
  const apt = join(folder, name);
  mkdirSync(join(apt, "sources.list.d"), { recursive: true });
  for (const [path, text] of Object.entries(files)) {
    writeFileSync(join(apt, path), text.replaceAll("CODENAME", codename ?? ""));
  }
  const mirror = debianMirror(apt);
  return mirror === undefined ? undefined : [mirror.uri, mirror.keyring];
}

test.skipIf(codename === undefined)(
  "debianMirror reads lines (needs a release with a name)",
  () => {
    const lines = [
      "# deb http://comment.example/debian CODENAME main",
      "deb-src http://source.example/debian CODENAME main",
      "deb http://security.example/debian CODENAME-security main",
      "deb http://other.example/debian CODENAME contrib",
      "deb [arch=amd64 signed-by=/etc/os-release] http://mirror.example/debian CODENAME contrib main",
    ];
    expect(found("lines", { "sources.list": lines.join("\n") })).toEqual([
      "http://mirror.example/debian",
      "/etc/os-release",
    ]);
  },
);

test.skipIf(codename === undefined)(
  "debianMirror reads fields (needs a release with a name)",
  () => {
    const paragraphs = [
      "Types: deb\nEnabled: no\nURIs: http://off.example/debian\nSuites: CODENAME\nComponents: main\n",
      "Types: deb\nURIs: http://security.example/debian\nSuites: CODENAME-security\nComponents: main\n",
      "# with a comment\nTypes: deb deb-src\nURIs: http://mirror.example/debian\nSuites: CODENAME CODENAME-updates\nComponents: main\nSigned-By: /nowhere.gpg\n",
    ];
    const files = { "sources.list": "", "sources.list.d/debian.sources": paragraphs.join("\n") };
    expect(found("fields", files)).toEqual(["http://mirror.example/debian", usual]);
  },
);

test("debianMirror finds nothing if apt has no sources for this release", () => {
  expect(
    found("none", { "sources.list.d/a.list": "deb http://a.example/ other main" }),
  ).toBeUndefined();
  expect(found("empty", {})).toBeUndefined();
});

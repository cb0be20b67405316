/** A C module asks for a password on the terminal. */
import { expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { compileModule, haveCompiler } from "#test/modules";
import { installed, program } from "#test/server";

test.skipIf(!haveCompiler || !installed("script"))(
  "what is typed is not shown, and what comes afterwards is (needs cc and script)",
  async () => {
    const filter = await compileModule("test/fixtures/parsing.c");
    const folder = mkdtempSync(join(tmpdir(), "nbdkit-password-"));
    try {
      const words = [...program, "-v", `--filter=${filter}`, "null", "read-password=-"];
      const server = [...words, "--dump-plugin"].map((word) => `'${word}'`).join(" ");
      const script = ["script", "-qec", `${server} 2>errors; stty -a >after`, "/dev/null"];
      const child = Bun.spawn(script, { cwd: folder, stdio: ["pipe", "pipe", "inherit"] });
      let shown = "";
      for await (const part of child.stdout.pipeThrough(new TextDecoderStream())) {
        const asked = shown.includes("password: ");
        shown += part;
        if (asked || !shown.includes("password: ")) continue;
        void child.stdin.write("secret\n");
        void child.stdin.flush();
      }
      void child.stdin.end();
      expect(await child.exited).toBe(0);
      expect(shown).not.toContain("secret");
      expect(readFileSync(join(folder, "errors"), "utf8")).toContain("read-password=- -> secret\n");
      expect(readFileSync(join(folder, "after"), "utf8")).toMatch(/ echo /);
    } finally {
      rmSync(folder, { recursive: true });
    }
  },
);

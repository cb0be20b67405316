/** Starts the server in the foreground, for tests that stop it themselves. */
import { program } from "#test/server";

export interface Started extends AsyncDisposable {
  readonly process: Bun.Subprocess<"ignore", "pipe", "pipe">;
  /** Waits until stderr matches. Rejects if the process exits without a match. */
  printed(pattern: RegExp): Promise<RegExpExecArray>;
  /** The result, once the process has exited. */
  ended(): Promise<{ readonly code: number; readonly stdout: string; readonly stderr: string }>;
}

export function start(...args: string[]): Started {
  const child = Bun.spawn([...program, "-f", ...args], {
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
  });
  let text = "";
  let over = false;
  let wake = Promise.withResolvers<void>();
  const collected = (async () => {
    const decoder = new TextDecoder();
    for await (const chunk of child.stderr) {
      text += decoder.decode(chunk, { stream: true });
      wake.resolve();
      wake = Promise.withResolvers();
    }
    over = true;
    wake.resolve();
  })();
  const stdout = new Response(child.stdout).text();
  return {
    process: child,
    async printed(pattern) {
      for (;;) {
        const match = pattern.exec(text);
        if (match !== null) return match;
        if (over) throw new Error(`the server exited without printing ${pattern}:\n${text}`);
        await wake.promise;
      }
    },
    async ended() {
      const code = await child.exited;
      await collected;
      return { code, stdout: await stdout, stderr: text };
    },
    async [Symbol.asyncDispose]() {
      child.kill("SIGKILL");
      await child.exited;
    },
  };
}

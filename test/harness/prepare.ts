/** Preloaded before all tests: compiles the native runtime, so that servers in tests print nothing about compiling. */
import { join } from "node:path";

import { haveCompiler } from "./modules.ts";
import { program } from "./server.ts";

if (haveCompiler) {
  const file = join(import.meta.dir, "../../abi/runtime/native-runtime.ts");
  const script = `(await import(${JSON.stringify(file)})).openRuntime()`;
  const { success, stderr } = Bun.spawnSync([...program.slice(0, -1), "-e", script], {
    stderr: "pipe",
  });
  if (!success) throw new Error(`the native runtime cannot be prepared: ${stderr.toString()}`);
}

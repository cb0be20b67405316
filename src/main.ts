/** The program: runs the command line and ends with its status. */

import { programArguments } from "./cli/argv.ts";
import { fail, watchFaults } from "./cli/faults.ts";
import { nbdkit } from "./cli/nbdkit.ts";
import { endProcess } from "./sys/process.ts";

watchFaults();
// While only a layer's promise is waited for, and no socket is open, Bun would spin instead of sleeping.
setInterval(() => {}, 2 ** 30);
// Native threads may still wait for work: nothing that could need them is left.
endProcess(await nbdkit(programArguments()).catch(fail));

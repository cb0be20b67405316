/** The program: runs the command line and ends with its status. */

import { endProcess } from "#abi/process";

import { programArguments } from "./cli/argv.ts";
import { fail, watchFaults } from "./cli/faults.ts";
import { nbdkit } from "./cli/nbdkit.ts";

watchFaults();
// Native threads may still wait for work: nothing that could need them is left.
endProcess(await nbdkit(programArguments()).catch(fail));

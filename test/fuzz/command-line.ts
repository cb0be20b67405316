/** Reads the command line of a fuzzer. */
import { parseArgs, type ParseArgsConfig } from "node:util";

type Options = NonNullable<ParseArgsConfig["options"]>;
type CommandLine<O extends Options> = ReturnType<
  typeof parseArgs<{ allowPositionals: true; options: O }>
>;

/** `--help` prints `usage` and ends the process. So does a mistake in the options, with an error message. */
export function commandLine<const O extends Options>(usage: string, options: O): CommandLine<O> {
  if (process.argv.slice(2).includes("--help")) {
    process.stdout.write(usage);
    process.exit(0);
  }
  try {
    return parseArgs({ allowPositionals: true, options });
  } catch (error) {
    // The advice in the second sentence is about file names that start with "-".
    const [mistake] = (error instanceof Error ? error.message : String(error)).split(". ");
    process.stderr.write(`${mistake}: --help lists the options\n`);
    process.exit(1);
  }
}

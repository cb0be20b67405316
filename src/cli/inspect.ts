/** Prints the properties of a C module: `nbdkit --inspect`. */
import type { Inspection } from "#abi/recognise/inspect";
import type { ChosenLayout } from "#abi/recognise/releases";

import { realPath } from "../lib/paths.ts";
import { findNative } from "../modules/find.ts";
import { print } from "./print.ts";

export interface InspectRequest {
  /** A file, or the bare name of an installed C module. */
  readonly file: string;
  readonly release?: ChosenLayout | undefined;
  readonly json: boolean;
}

/** The exit status: 0 if this server can run the module, else 1. */
export async function inspect({ file, release, json }: InspectRequest): Promise<number> {
  const path = realPath(findNative(file));
  const { inspectModule } = await import("#abi/recognise/inspect");
  const inspection = inOrder(inspectModule(path, release));
  print(json ? `${JSON.stringify(inspection, undefined, 2)}\n` : inspectionText(inspection));
  return inspection.runnable ? 0 : 1;
}

/** Every key and its label, in the order of printing. */
const labels: Readonly<Record<keyof Inspection, string>> = {
  path: "file",
  kind: "kind",
  name: "name",
  longname: "long name",
  version: "version",
  layout: "layout",
  releases: "releases",
  api_version: "API version",
  struct_size: "struct size",
  thread_model: "thread model",
  magic_config_key: "main parameter",
  callbacks: "callbacks",
  imports: "imports",
  missing: "missing here",
  debug_flags: "debug flags",
  libraries: "libraries",
  machine: "machine",
  description: "description",
  config_help: "parameters",
  warning: "warning",
  runnable: "can be run",
  reason: "reason",
};

function inOrder(inspection: Inspection): Inspection {
  const keys = Object.keys(labels) as readonly (keyof Inspection)[];
  const pairs = keys.filter((key) => key in inspection).map((key) => [key, inspection[key]]);
  // The same keys and values.
  return Object.fromEntries(pairs) as Inspection;
}

/** One line for each key; further lines of a value are indented below it. */
function inspectionText(inspection: Inspection): string {
  return Object.entries(inspection)
    .map(([key, value]) => `${labels[key as keyof Inspection]}:${valueText(value)}\n`)
    .join("");
}

function valueText(value: Inspection[keyof Inspection]): string {
  if (typeof value === "boolean") return value ? " yes" : " no";
  if (Array.isArray(value)) return ` ${value.length === 0 ? "none" : value.join(" ")}`;
  const lines = String(value).trimEnd().split("\n");
  return lines.length === 1 ? ` ${lines[0]}` : lines.map((line) => `\n  ${line}`).join("");
}

/** The output of --dump-plugin, printed line by line as in nbdkit: a failure leaves the lines before it. */
import type { Chain } from "../chain/chain.ts";
import type { Layer } from "../chain/layer.ts";
import { methods, rowOf } from "../chain/methods.ts";
import { realPath } from "../lib/paths.ts";
import { fields } from "./information.ts";
import { print } from "./print.ts";

/** The order of the lines `has_X=1`, which is that of the life cycle and not of the struct. */
const order = [
  "longname",
  "description",
  ...methods.flatMap((method) => {
    const { cName } = rowOf(method);
    return method === "configComplete" ? [cName, "config_help"] : [cName];
  }),
];

/** The plugin's lines, then those of the filters, innermost first, as in nbdkit since 1.36. */
export async function dumpPlugin(chain: Chain): Promise<void> {
  const plugin = chain.layers.at(-1);
  if (plugin !== undefined) await printPlugin(chain, plugin);
  await chain.dumpPlugin((layer) => {
    if (layer.kind === "plugin") return;
    print(
      fields([
        [`${layer.name}_path`, realPath(layer.path)],
        [`${layer.name}_name`, layer.name],
      ]),
    );
  });
}

async function printPlugin(chain: Chain, plugin: Layer): Promise<void> {
  const isModel = ([key]: readonly [string, string]): boolean => key === "thread_model";
  const at = plugin.dumpFields.findIndex(isModel);
  const before = plugin.dumpFields.slice(0, Math.max(0, at));
  const after = plugin.dumpFields.slice(at + 1);
  print(
    fields([
      ["path", realPath(plugin.path)],
      ["name", plugin.name],
      ["version", plugin.version],
      ...before,
    ]),
  );
  if (at >= 0) {
    // The model depends on all layers, and nbdkit queries it before config_complete.
    await chain.settleThreadModel();
    print(fields([["thread_model", chain.threadModel]]));
  }
  const isHas = ([key]: readonly [string, string]): boolean => key.startsWith("has_");
  const others = after.filter((field) => !isHas(field));
  const has = new Map(after.filter(isHas));
  const known = order.map((name) => [`has_${name}`, has.get(`has_${name}`)] as const);
  print(fields([...others, ...known]));
}

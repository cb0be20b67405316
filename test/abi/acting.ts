/** Filters of all layouts, compiled from acting.c, that call the layer below as the test says. */
import type { ReleaseId } from "#abi/generated/releases.gen";
import { compileModule } from "#test/modules";
import { nativeLayer } from "#test/native";

import { releaseMacro } from "../../codegen/names.ts";
import type { Layer } from "../../src/chain/layer.ts";

export const actingPath = (id: ReleaseId): Promise<string> =>
  compileModule("test/fixtures/acting.c", {
    defines: { NBDKIT_FILTER_RELEASE: releaseMacro(id) },
    name: `acting-${id}`,
  });

const acting = new Map<ReleaseId, Promise<Layer>>();

/** The same layer each time: there is room for a limited number of modules. */
export function actingFilter(id: ReleaseId): Promise<Layer> {
  let layer = acting.get(id);
  if (layer === undefined) {
    layer = actingPath(id).then((path) => nativeLayer("filter", path));
    acting.set(id, layer);
  }
  return layer;
}

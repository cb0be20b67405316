/** Filters of every layout, compiled from acting.c. The test chooses how they call the layer below. */
import type { ReleaseId } from "#abi/generated/releases.gen";
import { compileModule } from "#test/modules";
import { layerOnce, nativeLayer } from "#test/native";

import { releaseMacro } from "../../codegen/names.ts";
import type { Layer } from "../../src/chain/layer.ts";

export const actingPath = (id: ReleaseId): Promise<string> =>
  compileModule("test/fixtures/acting.c", {
    defines: { NBDKIT_FILTER_RELEASE: releaseMacro(id) },
    name: `acting-${id}`,
  });

export const actingFilter = (id: ReleaseId): Promise<Layer> =>
  layerOnce(`acting ${id}`, async () => nativeLayer("filter", await actingPath(id)));

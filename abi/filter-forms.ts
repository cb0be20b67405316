/** What the generated tables have for each generation of filters. */
import { layouts, type StructLayout } from "./generated/layouts.gen.ts";
import { RT_ADAPTER_FILTER_A, RT_ADAPTER_FILTER_S } from "./generated/ops.gen.ts";
import type { GenerationId } from "./generation-ids.ts";

export interface FilterForm {
  readonly layout: StructLayout;
  readonly adapter: number;
}

/** Those that can be run. */
export const filterForms: Readonly<Partial<Record<GenerationId, FilterForm>>> = {
  S: { layout: layouts.filterS, adapter: RT_ADAPTER_FILTER_S },
  A: { layout: layouts.filterA, adapter: RT_ADAPTER_FILTER_A },
};

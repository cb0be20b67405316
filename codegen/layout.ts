/** Computes the offsets of a struct's fields: natural alignment on 64-bit systems (LP64). */
import { type CType, integers, SourceError, type Struct, type Unit } from "./ir.ts";

interface FieldLayout {
  readonly name: string;
  readonly offset: number;
  readonly size: number;
  readonly kind: string;
}

export interface Layout {
  readonly size: number;
  readonly fields: readonly FieldLayout[];
}

/** The layout of `struct`. `unit` has the structs inside it. */
export function layoutOf(struct: Struct, unit: Unit): Layout {
  return place(struct, unit, (end) => end);
}

/** The layout of a union, in which all members begin at 0. */
function unionLayoutOf(union: Struct, unit: Unit): Layout {
  return place(union, unit, () => 0);
}

/** `next` is the lowest possible offset of a field that follows others, which end at `end`. */
function place(struct: Struct, unit: Unit, next: (end: number) => number): Layout {
  let [end, widest] = [0, 1];
  const fields = struct.fields.map((field) => {
    const shape = shapeOf(field.type, unit);
    if (shape === undefined) {
      const remedy = "use an integer of fixed width, a pointer or a struct";
      throw new SourceError(field.at, `${field.name} has no size that is known`, remedy);
    }
    const offset = alignUp(next(end), shape.align);
    end = Math.max(end, offset + shape.size);
    widest = Math.max(widest, shape.align);
    return { name: field.name, offset, size: shape.size, kind: shape.kind };
  });
  return { size: alignUp(end, widest), fields };
}

function alignUp(offset: number, align: number): number {
  return Math.ceil(offset / align) * align;
}

interface Shape {
  readonly size: number;
  readonly align: number;
  readonly kind: string;
}

function shapeOf(type: CType, unit: Unit): Shape | undefined {
  switch (type.kind) {
    case "integer": {
      const { size, kind } = integers[type.name];
      return { size, align: size, kind };
    }
    case "pointer": {
      const kinds = { char: type.constant ? "string" : "pointer", function: "function" };
      const kind =
        type.to.kind === "char" || type.to.kind === "function" ? kinds[type.to.kind] : "pointer";
      return { size: 8, align: 8, kind };
    }
    case "char":
      return { size: 1, align: 1, kind: "char" };
    case "array": {
      const element = shapeOf(type.of, unit);
      return element && { ...element, size: element.size * type.length, kind: "array" };
    }
    case "struct":
    case "union": {
      const isStruct = type.kind === "struct";
      const inner = (isStruct ? unit.structs : unit.unions).get(type.name);
      if (inner === undefined) return undefined;
      const { size } = isStruct ? layoutOf(inner, unit) : unionLayoutOf(inner, unit);
      const aligns = inner.fields.map((field) => shapeOf(field.type, unit)?.align ?? 1);
      return { size, align: Math.max(1, ...aligns), kind: type.kind };
    }
    default:
      return undefined;
  }
}

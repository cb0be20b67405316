/** What one client does, step by step, and how it is written down in the corpus. */

export type Step =
  | { readonly kind: "send"; readonly data: Uint8Array }
  /** From now on the client's kernel takes so many bytes, then no more until `drain`. */
  | { readonly kind: "take"; readonly bytes: number }
  /** The kernel takes everything again. */
  | { readonly kind: "drain" }
  /** Let the server do all that it can. */
  | { readonly kind: "turn" }
  /** The client sends no more. */
  | { readonly kind: "end" }
  /** The connection breaks. */
  | { readonly kind: "reset" }
  /** The server is told to stop. */
  | { readonly kind: "stop" };

export interface Script {
  /** The name of the server that it is played to. */
  readonly world: string;
  readonly steps: readonly Step[];
}

export function send(...data: readonly Uint8Array[]): Step {
  const [first] = data;
  if (first !== undefined && data.length === 1) return { kind: "send", data: first };
  return { kind: "send", data: joined(data) };
}

export function joined(parts: readonly Uint8Array[]): Uint8Array {
  const all = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

/** All that the client sends before its side of the connection is closed. */
export function sentBy(steps: readonly Step[]): Uint8Array {
  const end = steps.findIndex(({ kind }) => kind === "end" || kind === "reset");
  const open = end < 0 ? steps : steps.slice(0, end);
  return joined(open.flatMap((step) => (step.kind === "send" ? [step.data] : [])));
}

const hexPerLine = 96;

/** One step a line; data in hexadecimal, with as many lines as it takes. */
export function format({ world, steps }: Script): string {
  const lines = [`world ${world}`];
  for (const step of steps) {
    if (step.kind === "send") {
      const hex = Buffer.from(step.data).toString("hex");
      const parts = hex.match(new RegExp(`.{1,${hexPerLine}}`, "g")) ?? [""];
      parts.forEach((part, i) => lines.push(`${i === 0 ? "send" : "   +"} ${part}`));
    } else {
      lines.push(step.kind === "take" ? `take ${step.bytes}` : step.kind);
    }
  }
  return `${lines.join("\n")}\n`;
}

export function parse(text: string): Script {
  let world = "plain";
  const steps: Step[] = [];
  for (const line of text.split("\n")) {
    const [word = "", value = ""] = line.trim().split(" ");
    switch (word) {
      case "":
      case "#":
        break;
      case "world":
        world = value;
        break;
      case "send":
        steps.push(send(Buffer.from(value, "hex")));
        break;
      case "+": {
        const last = steps.pop();
        if (last?.kind !== "send") throw new Error("+ has to follow what is sent");
        steps.push(send(last.data, Buffer.from(value, "hex")));
        break;
      }
      case "take":
        steps.push({ kind: "take", bytes: Number(value) });
        break;
      case "drain":
      case "turn":
      case "end":
      case "reset":
      case "stop":
        steps.push({ kind: word });
        break;
      default:
        throw new Error(`no such step: ${line}`);
    }
  }
  return { world, steps };
}

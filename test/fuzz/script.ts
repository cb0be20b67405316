/** The steps of one client, and their form in the files of the corpus. */

export type Step =
  | { readonly kind: "send"; readonly data: Uint8Array }
  /** From now on the client's kernel accepts this many bytes, then no more until `drain`. */
  | { readonly kind: "take"; readonly bytes: number }
  /** The kernel accepts everything again. */
  | { readonly kind: "drain" }
  /** Let one turn of the event loop pass. */
  | { readonly kind: "turn" }
  /** The client sends no more. */
  | { readonly kind: "end" }
  /** The connection breaks. */
  | { readonly kind: "reset" }
  /** The server stops. */
  | { readonly kind: "stop" };

export interface Script {
  /** The name of the server's configuration. */
  readonly configuration: string;
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

/** The bytes that the client sends before it closes its side of the connection. */
export function sentBy(steps: readonly Step[]): Uint8Array {
  const end = steps.findIndex(({ kind }) => kind === "end" || kind === "reset");
  const open = end < 0 ? steps : steps.slice(0, end);
  return joined(open.flatMap((step) => (step.kind === "send" ? [step.data] : [])));
}

const hexPerLine = 96;

/** One line for each step; data in hexadecimal may take several lines. */
export function format({ configuration, steps }: Script): string {
  const lines = [`configuration ${configuration}`];
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
  let configuration = "plain";
  const steps: Step[] = [];
  for (const line of text.split("\n")) {
    const [word = "", value = ""] = line.trim().split(" ");
    switch (word) {
      case "":
      case "#":
        break;
      case "configuration":
        configuration = value;
        break;
      case "send":
        steps.push(send(Buffer.from(value, "hex")));
        break;
      case "+": {
        const last = steps.pop();
        if (last?.kind !== "send") throw new Error("a + must follow a send");
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
  return { configuration, steps };
}

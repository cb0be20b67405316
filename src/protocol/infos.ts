/** Builds the payloads of replies to LIST, INFO and GO. */
import type { NextOps } from "../api/generated/methods.gen.ts";
import type { BlockSize } from "../lib/block-size.ts";
import { bytesOf } from "../lib/text-bytes.ts";
import { INFO_BLOCK_SIZE, INFO_DESCRIPTION, INFO_EXPORT, INFO_NAME } from "./constants.ts";
import type { InfoRequest } from "./option-payload.ts";

/** One entry of a list: the length of the name, the name and the description. */
export function listedExport(name: string, description: string | undefined): Uint8Array {
  const nameBytes = bytesOf(name);
  const text = bytesOf(description ?? "");
  const reply = new Uint8Array(4 + nameBytes.length + text.length);
  new DataView(reply.buffer).setUint32(0, nameBytes.length);
  reply.set(nameBytes, 4);
  reply.set(text, 4 + nameBytes.length);
  return reply;
}

/** NBD_INFO_EXPORT, which is always sent. */
export function exportInfo(size: bigint, eflags: number): Uint8Array {
  const view = new DataView(new ArrayBuffer(12));
  view.setUint16(0, INFO_EXPORT);
  view.setBigUint64(2, size);
  view.setUint16(10, eflags);
  return new Uint8Array(view.buffer);
}

/**
 * The requested infos that the layers can provide, in the order of the request. Each kind is answered once even if the
 * client repeats it, so that replies stay in proportion to requests. `say` gets a message for each info that the layers
 * lack.
 */
export async function requestedInfos(
  { infos, rawName }: InfoRequest,
  top: NextOps,
  defaultExport: () => Promise<string | undefined>,
  say: (what: string) => void,
): Promise<readonly Uint8Array[]> {
  const replies: Uint8Array[] = [];
  for (const kind of infos) {
    switch (kind) {
      case INFO_NAME: {
        // The empty name stands for the default export: reply with its real name.
        const name = rawName.length > 0 ? rawName : bytesOf((await defaultExport()) ?? "");
        replies.push(textInfo(kind, name));
        break;
      }
      case INFO_DESCRIPTION: {
        const description = await top.exportDescription();
        if (description === undefined) say("NBD_INFO_DESCRIPTION: the layers have none");
        else replies.push(textInfo(kind, bytesOf(description)));
        break;
      }
      case INFO_BLOCK_SIZE: {
        const size = await top.blockSize();
        if (size.minimum === 0) say("NBD_INFO_BLOCK_SIZE: the layers have none");
        else replies.push(blockSizeInfo(size));
        break;
      }
    }
  }
  return replies;
}

function textInfo(kind: number, text: Uint8Array): Uint8Array {
  const info = new Uint8Array(2 + text.length);
  info[1] = kind;
  info.set(text, 2);
  return info;
}

function blockSizeInfo({ minimum, preferred, maximum }: BlockSize): Uint8Array {
  const view = new DataView(new ArrayBuffer(14));
  view.setUint16(0, INFO_BLOCK_SIZE);
  view.setUint32(2, minimum);
  view.setUint32(6, preferred);
  view.setUint32(10, maximum);
  return new Uint8Array(view.buffer);
}

/** TLS without encryption, to test the code around GnuTLS. The handshake is one word of the client. */
import { NbdError } from "#api";
import type { TlsOperations } from "#sys/tls/session";
import type { Emit } from "#sys/tls/wire";

import type { ServerTls } from "../../src/server/tls.ts";
import { joined } from "./script.ts";

/** The client's handshake. */
export const handshakeMessage: Uint8Array = new TextEncoder().encode("TLS!");

const recordBytes = 16 << 10;

export function nullTls(mode: "on" | "require"): ServerTls {
  return { mode, offer: { handshakeMs: 60_000, newSession: (emit) => nullSession(emit) } };
}

function nullSession(emit: Emit): TlsOperations {
  let arrived: Uint8Array = new Uint8Array(0);
  let ended = false;
  const session: TlsOperations = {
    endedEarly: false,
    verifyPeer: () => {},
    push: (chunk) => (arrived = joined([arrived, chunk])),
    endInput: () => (ended = true),
    get unread() {
      return arrived.length;
    },
    handshake() {
      const first = arrived.subarray(0, handshakeMessage.length);
      if (Buffer.compare(first, handshakeMessage.subarray(0, first.length)) !== 0) {
        throw new NbdError("EPROTO", "bad handshake");
      }
      if (first.length < handshakeMessage.length) return false;
      arrived = arrived.subarray(handshakeMessage.length);
      return true;
    },
    read(into, small = false) {
      if (arrived.length === 0) return ended ? "end" : "wait";
      const piece = arrived.subarray(0, Math.min(into.length, small ? recordBytes : Infinity));
      into.set(piece);
      arrived = arrived.subarray(piece.length);
      return piece.length;
    },
    write(bytes, start, length) {
      // One record at a time, as GnuTLS does.
      const taken = Math.min(length, recordBytes);
      emit(bytes.subarray(start, start + taken));
      return taken;
    },
    close: () => {},
    alert: () => {},
    describe: () => "no TLS at all",
    details: () => [],
    names: () => undefined,
    [Symbol.dispose]: () => {},
  };
  return session;
}

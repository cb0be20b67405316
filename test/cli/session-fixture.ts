/** A whole NBD session as bytes, for servers that are connected to pipes or files. */

/** Client flags, NBD_OPT_EXPORT_NAME "" (20 bytes together), a read at offset 0, and a disconnect. */
export function readAndLeave(count: number): Buffer {
  const options = "00000003" + Buffer.from("IHAVEOPT").toString("hex") + "0000000100000000";
  const read = `25609513000000000000000000000001${"0".repeat(16)}${hex32(count)}`;
  const disconnect = `25609513000000020000000000000002${"0".repeat(24)}`;
  return Buffer.from(options + read + disconnect, "hex");
}

function hex32(value: number): string {
  return value.toString(16).padStart(8, "0");
}

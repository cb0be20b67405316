/**
 * Makes a LUKS 1 disk that is always the same. qemu-img and cryptsetup would first measure the speed of the computer.
 */
import { createCipheriv, createHash, pbkdf2Sync } from "node:crypto";

const SECTOR = 512;
/** AES-256 in XTS mode has two keys. */
const KEY_BYTES = 64;
const STRIPES = 4000;
const SLOTS = 8;
const ITERATIONS = 1000;
/** The sizes of the header and of a padded key slot, and the start of the data, in sectors. */
const HEADER = 8;
const SLOT = 504;
const PAYLOAD = 4096;

/** The encrypted disk. `plain` is a multiple of 512 bytes. */
export function luksDisk(plain: Uint8Array, passphrase: string): Buffer {
  const key = noise("master key", KEY_BYTES);
  const disk = Buffer.alloc(PAYLOAD * SECTOR + plain.length);
  header(key).copy(disk);
  const slotKey = derived(Buffer.from(passphrase), noise("slot salt", 32), KEY_BYTES);
  encrypted(split(key), slotKey).copy(disk, HEADER * SECTOR);
  encrypted(plain, key).copy(disk, PAYLOAD * SECTOR);
  return disk;
}

function header(key: Buffer): Buffer {
  const head = Buffer.alloc(592);
  head.write("LUKS\xba\xbe", 0, "latin1");
  head.writeUInt16BE(1, 6);
  head.write("aes", 8);
  head.write("xts-plain64", 40);
  head.write("sha256", 72);
  head.writeUInt32BE(PAYLOAD, 104);
  head.writeUInt32BE(KEY_BYTES, 108);
  derived(key, noise("digest salt", 32), 20).copy(head, 112);
  noise("digest salt", 32).copy(head, 132);
  head.writeUInt32BE(ITERATIONS, 164);
  head.write("11111111-2222-4333-8444-555555555555", 168);
  for (let slot = 0; slot < SLOTS; slot++) {
    const at = 208 + slot * 48;
    head.writeUInt32BE(slot === 0 ? 0x00ac71f3 : 0x0000dead, at);
    if (slot === 0) {
      head.writeUInt32BE(ITERATIONS, at + 4);
      noise("slot salt", 32).copy(head, at + 8);
    }
    head.writeUInt32BE(HEADER + slot * SLOT, at + 40);
    head.writeUInt32BE(STRIPES, at + 44);
  }
  return head;
}

/** Bytes that look random and are the same each time. */
function noise(name: string, length: number): Buffer {
  return pbkdf2Sync(name, "noise", 1, length, "sha256");
}

function derived(secret: Buffer, salt: Buffer, length: number): Buffer {
  return pbkdf2Sync(secret, salt, ITERATIONS, length, "sha256");
}

/** Spreads the key over stripes. Recovering it needs all of them (LUKS's anti-forensic splitter). */
function split(key: Buffer): Buffer {
  const stripes = noise("stripes", key.length * STRIPES);
  let state = Buffer.alloc(key.length);
  for (let at = 0; at < stripes.length - key.length; at += key.length) {
    state = diffused(xor(state, stripes.subarray(at, at + key.length)));
  }
  xor(state, key).copy(stripes, stripes.length - key.length);
  return stripes;
}

function diffused(block: Buffer): Buffer<ArrayBuffer> {
  const parts: Buffer[] = [];
  for (let at = 0; at < block.length; at += 32) {
    const number = Buffer.alloc(4);
    number.writeUInt32BE(at / 32);
    const hash = createHash("sha256")
      .update(number)
      .update(block.subarray(at, at + 32));
    parts.push(hash.digest());
  }
  return Buffer.concat(parts);
}

/** AES-256-XTS. The number of the sector, from 0 on, is the tweak. */
function encrypted(data: Uint8Array, key: Buffer): Buffer {
  const [dataKey, tweakKey] = [key.subarray(0, 32), key.subarray(32)];
  const sectors: Buffer[] = [];
  for (let at = 0; at < data.length; at += SECTOR) {
    const number = Buffer.alloc(16);
    number.writeUInt32LE(at / SECTOR);
    const mask = tweaks(aes(tweakKey, number));
    sectors.push(xor(aes(dataKey, xor(data.subarray(at, at + SECTOR), mask)), mask));
  }
  return Buffer.concat(sectors);
}

/** The tweaks of the blocks of a sector: each is the previous one doubled in GF(2^128), first byte lowest. */
function tweaks(first: Buffer): Buffer {
  const all = Buffer.alloc(SECTOR);
  first.copy(all);
  for (let at = 16; at < SECTOR; at++) {
    const carry = at % 16 === 0 ? 0 : (all[at - 17] ?? 0) >> 7;
    all[at] = ((all[at - 16] ?? 0) << 1) | carry;
    if (at % 16 === 15 && (all[at - 16] ?? 0) >> 7 === 1) all[at - 15] = (all[at - 15] ?? 0) ^ 0x87;
  }
  return all;
}

function aes(key: Buffer, blocks: Buffer): Buffer {
  const cipher = createCipheriv("aes-256-ecb", key, null).setAutoPadding(false);
  return Buffer.concat([cipher.update(blocks), cipher.final()]);
}

function xor(a: Uint8Array, b: Uint8Array): Buffer<ArrayBuffer> {
  const result = Buffer.alloc(a.length);
  for (let at = 0; at < a.length; at++) result[at] = (a[at] ?? 0) ^ (b[at] ?? 0);
  return result;
}

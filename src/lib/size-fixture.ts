/** Sizes as users write them, and what they mean: for the reader in TypeScript and for that of C modules. */

const largest = 2n ** 63n - 1n;

export const sizes: readonly (readonly [text: string, size: bigint])[] = [
  ["0", 0n],
  ["10", 10n],
  [" +1k", 1024n],
  ["1K", 1024n],
  ["2b", 2n],
  ["3s", 1536n],
  ["1m", 1n << 20n],
  ["1G", 1n << 30n],
  ["1t", 1n << 40n],
  ["1P", 1n << 50n],
  ["7e", 7n << 60n],
  [`${largest}`, largest],
  // Since nbdkit 1.48.
  ["0x10", 16n],
  ["+0X1f", 31n],
  ["0x1b", 27n],
  ["0x1_b", 1n],
  ["0x1e", 30n],
  ["0x1_E", 1n << 60n],
  ["0x1M", 1n << 20n],
  ["1_M", 1n << 20n],
  ["1_s", 512n],
  ["0_M", 0n],
  ["010", 8n],
  ["017k", 15n << 10n],
  ["07_E", 7n << 60n],
  ["00", 0n],
  ["0x7fffffffffffffff", largest],
  ["0777777777777777777777", largest],
];

export const noSizes: readonly string[] = [
  ...["", "k", "-1", "1.5k", "1kk", "1 k", "1kb", "1x", "1k ", "٣"],
  ...["0x", "0xg", "08", "1_", "1__M", "_1M", "1_0", "1_M_", "0b1", "-0x1", "0x 1"],
  `${largest + 1n}`,
  ...["8e", "9_E", "010_E", "0x8000000000000000", "01000000000000000000000"],
];

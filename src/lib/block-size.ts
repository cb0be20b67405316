/** The block sizes that a layer advises clients to use: nbdkit-plugin(3), ".block_size". */

/** In bytes. All 0: the layer has no advice. */
export interface BlockSize {
  /** No request should be smaller or less aligned. */
  readonly minimum: number;
  /** The size of the most efficient requests. */
  readonly preferred: number;
  /** No read or write should be larger; 4294967295 means no limit. */
  readonly maximum: number;
}

export const noBlockSize: BlockSize = Object.freeze({ minimum: 0, preferred: 0, maximum: 0 });

const unlimited = 0xffffffff;

/** Why `size` breaks the rules, or undefined if it is valid. */
export function checkBlockSize(size: BlockSize): string | undefined {
  const { minimum, preferred, maximum } = size;
  if (minimum === 0 && preferred === 0 && maximum === 0) return undefined;
  if (!isPowerOf2(minimum) || minimum > 65536) {
    return `minimum block size ${minimum}: expected a power of 2 from 1 to 65536`;
  }
  if (!isPowerOf2(preferred) || preferred < 512 || preferred > 32 << 20) {
    return `preferred block size ${preferred}: expected a power of 2 from 512 to 33554432`;
  }
  if (!Number.isInteger(maximum) || maximum < 0 || maximum > unlimited) {
    return `maximum block size ${maximum}: expected an integer up to ${unlimited}`;
  }
  if (maximum !== unlimited && maximum % minimum !== 0) {
    return `maximum block size ${maximum}: expected a multiple of the minimum (${minimum}), or ${unlimited}`;
  }
  if (minimum > preferred || preferred > maximum) {
    return `block sizes ${minimum}, ${preferred}, ${maximum}: expected minimum <= preferred <= maximum`;
  }
  return undefined;
}

/** Why C cannot represent `size`, even where the rules do not apply. Undefined if it can. */
export function checkBlockSizeRange(size: BlockSize): string | undefined {
  const { minimum, preferred, maximum } = size;
  const wrong = [minimum, preferred, maximum].find(
    (it) => !Number.isInteger(it) || it < 0 || it > unlimited,
  );
  if (wrong === undefined) return undefined;
  return `block size ${wrong}: expected an integer from 0 to ${unlimited}`;
}

function isPowerOf2(value: number): boolean {
  return (
    Number.isInteger(value) && value > 0 && value <= unlimited && Number.isInteger(Math.log2(value))
  );
}

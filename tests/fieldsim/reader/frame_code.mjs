// Reads the frame code that fieldsim paints along the top of its pictures. Layout: ../README.md.
// Works on any size the picture was scaled to, as long as the whole picture is there.

const CELLS = 48;

/** Checksum of a code: sum of the four bytes of the frame number and the camera index, modulo 256. */
export function checksum(frame, camera) {
  return ((frame >>> 24) + ((frame >>> 16) & 255) + ((frame >>> 8) & 255) + (frame & 255) + (camera & 15)) & 255;
}

/**
 * @param {ImageData | Uint8ClampedArray | Uint8Array} imageData RGBA pixels, or an ImageData.
 * @param {number} width picture width in pixels
 * @param {number} height picture height in pixels
 * @returns {{frame: number, camera: number} | null} null when the strip is not there or damaged
 */
export function readFrameCode(imageData, width, height) {
  const pixels = imageData.data ?? imageData;
  if (pixels.length < width * height * 4 || width < 96 || height < 18) return null;
  const row = Math.floor(height / 18);
  const level = (cell) => {
    const column = Math.floor(((cell * 2 + 1) * width) / (CELLS * 2));
    let sum = 0;
    for (let y = row - 1; y <= row + 1; y++) {
      for (let x = column - 1; x <= column + 1; x++) {
        const at = (y * width + x) * 4;
        sum += 0.299 * pixels[at] + 0.587 * pixels[at + 1] + 0.114 * pixels[at + 2];
      }
    }
    return sum / 9;
  };
  const white = (level(0) + level(47)) / 2;
  const black = (level(1) + level(46)) / 2;
  if (white < black + 60) return null;
  const middle = (white + black) / 2;
  const bits = (from, count) => {
    let value = 0;
    for (let n = 0; n < count; n++) value = value * 2 + (level(from + n) > middle ? 1 : 0);
    return value;
  };
  const frame = bits(2, 32);
  const camera = bits(34, 4);
  return bits(38, 8) === checksum(frame, camera) ? { frame, camera } : null;
}

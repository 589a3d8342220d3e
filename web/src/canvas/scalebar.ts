/** The scale bar: a round length of the image, in its own unit. */

/** How long a side of a pixel is. */
export interface PixelSize {
  size: number;
  unit: string;
}

interface Bar {
  width: number; // screen pixels
  text: string;
}

const METRIC = ["pm", "nm", "µm", "mm", "m", "km"]; // each a thousand of the one before
const STEPS = [5, 2, 1];

/** The longest bar of 1, 2 or 5 times a power of ten that is at most `most` screen pixels wide. */
export function scaleBar(pixel: PixelSize, scale: number, most: number): Bar {
  const { size, unit } = pixel.unit === "cm" ? { size: 10 * pixel.size, unit: "mm" } : pixel;
  const longest = (most * size) / scale;
  const power = Math.floor(Math.log10(longest));
  const digit = STEPS.find((step) => step * 10 ** power <= longest * (1 + 1e-9)) ?? 1;
  return { width: (digit * 10 ** power * scale) / size, text: named(digit, power, unit) };
}

/** "200 µm": the number is written out from its digit, so that it is never .30000000000000004. */
function named(digit: number, power: number, unit: string): string {
  let place = METRIC.indexOf(unit);
  let digits = power;
  while (place >= 0 && digits < 0 && place > 0) [digits, place] = [digits + 3, place - 1];
  while (place >= 0 && digits >= 3 && place < METRIC.length - 1) {
    [digits, place] = [digits - 3, place + 1];
  }
  const number = digits < 0 ? (digit * 10 ** digits).toFixed(-digits) : digit * 10 ** digits;
  return `${number} ${place < 0 ? unit : METRIC[place]}`;
}

/**
 * How small a region of a mask may be: pixels or a share of the mask in, a least area out
 * (`masks/binary.py`).
 */

/** Regions of less go; one of the two is 0. */
interface LeastArea {
  pixels: number; // of the image
  share: number; // of the mask, 0 to 1
}

/** Of holes, which are filled, and of islands, which are removed. */
export interface LeastAreas {
  holes: LeastArea;
  islands: LeastArea;
}

const CLEAN: LeastArea = { pixels: 0, share: 0.05 };
const NONE: LeastArea = { pixels: 0, share: 0 };

/** What holes and islands have at least, unless somebody says otherwise. */
export const USUAL: LeastAreas = { holes: CLEAN, islands: CLEAN };

/** The areas for the image in another size; none below a pixel. */
export function scaledAreas({ holes, islands }: LeastAreas, scale: number): LeastAreas {
  const scaled = ({ pixels, share }: LeastArea) => {
    const inMask = pixels * scale ** 2;
    return { pixels: inMask >= 1 ? inMask : 0, share };
  };
  return { holes: scaled(holes), islands: scaled(islands) };
}

const NUMBER = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i;

/**
 * 50: pixels; 0.05 or "5%": a share; 0 or false: none; "auto": the usual one.
 *
 * Throws an Error, with the setting's name, for what is no size.
 */
export function parseRegionSize(given: unknown, name: string): LeastArea {
  if (given === false) return NONE;
  if (given === "auto") return CLEAN;
  const text = typeof given === "string" ? given.trim() : "";
  const isShare = text.endsWith("%");
  const digits = isShare ? text.slice(0, -1).trim() : text;
  const told = NUMBER.test(digits) ? Number(digits) : NaN;
  const number = typeof given === "number" ? given : told;
  if (!(number >= 0 && number < (isShare ? 100 : Infinity))) {
    throw new Error(
      `${name} must be a number of pixels (1 or more), a share of the mask (0.05 or ` +
        `"5%", less than ` +
        `"100%"), or 0 or false for off. Given: ${saidAs(given)}.`,
    );
  }
  if (isShare) return { pixels: 0, share: number / 100 };
  return number < 1 ? { pixels: 0, share: number } : { pixels: number, share: 0 };
}

const saidAs = (given: unknown) =>
  typeof given === "number" ? String(given) : JSON.stringify(given);

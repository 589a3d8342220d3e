/**
 * Names and their vectors: a mask's vector and a choice of names in, the likeliest names out
 * (`models/rules/names.py`, `runtime/onnx.py`). Fetched when names are asked for.
 */

import { halvesToFloats } from "./features";
import { readNpz, type NpyArray } from "./npz";
import { editDistance, likeness, plainWord } from "./spelling";

const NEAREST = 3; // names that an error offers
const ALIKE = 0.5; // of letters that two names share, from which one is offered
const DECIMALS = 1e4;

/** A name for a mask, and how likely it is, 0 to 1. */
export interface Suggestion {
  label: string;
  probability: number;
}

/** All names that a network knows. */
export interface Names {
  words: readonly string[]; // N, those that are met more often first
  also: ReadonlyMap<string, number>; // the words and their other spellings, and their place
  vectors: Float32Array; // (N, D) of length 1
  learned: ArrayLike<number>; // N, 1: training images showed it, 0: known by its word alone
  scale: number; // of the agreement of two vectors, to be a logit
}

export class NameTable {
  constructor(private readonly names: Names) {}

  /**
   * The names to choose from: a list, or all that were learned. Throws for one that is not known,
   * with the nearest that are.
   */
  chosen(labels: readonly string[] | null): ChosenNames {
    const { words, learned } = this.names;
    const known = [...words.keys()].filter((place) => learned[place]);
    if (labels === null) {
      return new ChosenNames(
        this.names,
        known.map((place) => words[place]),
        known,
        [],
      );
    }
    const wanted = [...new Set(labels.map((label) => label.trim()).filter(Boolean))];
    if (!wanted.length) {
      throw new Error(
        "The list of names is empty. Pass words, or omit names to use all known names.",
      );
    }
    const places = wanted.map((label) => this.place(label));
    const others = known.filter((place) => !places.includes(place));
    return new ChosenNames(this.names, wanted, places, others);
  }

  /** Whether it can be chosen. */
  knows(name: string): boolean {
    return this.names.also.has(plainWord(name));
  }

  /**
   * The names that it may be a slip of: the fewest slips first, then what images showed, then the
   * more frequent one.
   */
  near(name: string): string[] {
    const { also, learned } = this.names;
    const word = plainWord(name);
    return [...also]
      .map(([other, place]) => {
        const alike = likeness(other, word);
        const unlikely = [editDistance(word, other), learned[place] ? 0 : 1, place, -alike];
        return { other, alike, unlikely };
      })
      .filter(({ alike }) => alike >= ALIKE)
      .sort((a, b) => firstDifference(a.unlikely, b.unlikely))
      .slice(0, NEAREST)
      .map(({ other }) => other);
  }

  private place(label: string): number {
    const place = this.names.also.get(plainWord(label));
    if (place !== undefined) return place;
    const near = this.near(label);
    const offered = near.length
      ? `The closest names are: ${near.join(", ")}.`
      : "No known name is close.";
    throw new Error(
      `Unknown name ${JSON.stringify(label)}: ${this.names.words.length} names are known. ` +
        `${offered} Omit names to use all known names.`,
    );
  }
}

function firstDifference(first: readonly number[], second: readonly number[]): number {
  const place = first.findIndex((value, i) => value !== second[i]);
  return place < 0 ? 0 : first[place] - second[place];
}

/** Names to choose from. */
class ChosenNames {
  /**
   * labels  as the user wrote them
   * places  of the names in the table
   * others  places of names that are no choice, but may be meant
   */
  constructor(
    private readonly names: Names,
    readonly labels: readonly string[],
    private readonly places: readonly number[],
    private readonly others: readonly number[],
  ) {}

  /** The likeliest names of a mask with a vector (D,), the likeliest first. */
  suggest(vector: Float32Array, top: number): Suggestion[] {
    const [told, rivals] = [this.places, this.others].map((places) =>
      places.map((place) => this.logit(vector, place)),
    );
    const most = [...told, ...rivals].reduce((a, b) => Math.max(a, b));
    const powers = [...told, ...rivals].map((logit) => Math.exp(logit - most));
    const sum = powers.reduce((a, b) => a + b);
    const order = [...told.keys()].sort((a, b) => told[b] - told[a]).slice(0, top);
    return order.map((place) => {
      const chance = powers[place] / sum;
      return {
        label: this.labels[place],
        probability: Math.round(chance * DECIMALS) / DECIMALS,
      };
    });
  }

  private logit(vector: Float32Array, place: number): number {
    const { vectors, scale } = this.names;
    const own = vectors.subarray(place * vector.length, (place + 1) * vector.length);
    return scale * own.reduce((sum, value, i) => sum + value * vector[i], 0);
  }
}

/** The names of a bundle. Throws for a file of other things. */
export async function readTable(bytes: ArrayBuffer): Promise<NameTable> {
  const arrays = await readNpz(bytes);
  const of = (name: string, dtype: string, length?: number): NpyArray => {
    const array = arrays.get(name);
    if (array?.dtype === dtype && (length === undefined || array.shape[0] === length)) return array;
    const got = array ? `${array.dtype} of shape ${array.shape.join(" x ")}` : "missing";
    const many = length === undefined ? "" : ` for ${length} names`;
    throw new Error(
      `The table of names is invalid: ${name} must be ${dtype}${many}, but is ${got}. ` +
        "Export the model again.",
    );
  };
  const told = JSON.parse(new TextDecoder().decode(of("words", "|u1").bytes)) as {
    words: string[];
    also: Record<string, number>;
  };
  const count = told.words.length;
  const { shape, bytes: halves } = of("vectors", "<f2", count);
  const vectors = halvesToFloats(new Uint16Array(halves));
  for (let at = 0; at < vectors.length; at += shape[1]) {
    const one = vectors.subarray(at, at + shape[1]);
    const length = Math.max(1e-6, Math.hypot(...one));
    one.forEach((value, i) => (one[i] = value / length));
  }
  return new NameTable({
    words: told.words,
    also: new Map(Object.entries(told.also)),
    vectors,
    learned: new Uint8Array(of("learned", "|b1", count).bytes),
    scale: new Float32Array(of("scale", "<f4").bytes)[0],
  });
}

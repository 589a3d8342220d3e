/**
 * `nano`'s answers (the rules of `masks/answer.py`, which gives the reasons): four masks and
 * their score in, ordered candidates out.
 *
 * A lone click: the connected part under it in three of the four, in a learned order. A clear
 * prompt: their mean without small parts, the better ones counting more. A bare box is asked again
 * with its answer.
 *
 * T masks of the decoder, m the side of a low-resolution mask, F facts of each.
 */

import type { Geometry } from "../geometry";
import type { Spec } from "../manifest";
import type { Tokens } from "../prompts";
import { CORNERS, NO_POINT, POSITIVE, answersOf, byScore, isLoneClick } from "./family";
import type { Answer, Decode, Decoded, Family, Tables } from "./family";
import { commonCells, deepestCell, factsOf, gridOf, iouOfPairs, withoutParts } from "./nano-facts";

const LEAST_PART = 0.2; // of a mask's largest part
const FAVOUR = 8; // a mask of half the expected IoU counts exp(-4) times as much
const LEAST_NUMBER = 1e-4; // of the network, and as far from 1

/** Of the ranking network: the bundle's table "ranking". */
interface RankingWeights {
  direct: number[]; // (F,)
  own: number[][]; // (F, 8)
  mean: number[][]; // (F, 8)
  bias: number[]; // (8,)
  out: number[]; // (8,)
}

/** Tables that make the network's numbers of a lone click's masks scores. */
export interface Lines {
  expected?: { quality: number; worth: number; shift: number };
  scores?: { factor: number; shift: number }; // of earlier bundles
}

export function nano(spec: Spec, tables: Tables): Family {
  const weights = tables.ranking as RankingWeights | undefined;
  if (!weights)
    throw new Error(`The tables.json of ${spec.name} lacks "ranking". Export the model again.`);
  return {
    stepwise: true,
    candidates: bestThree,
    async answer(decode, asked, place) {
      const decoded = await askedTwice(decode, asked, spec);
      if (isLoneClick(asked)) return ranked(decoded, asked, place, spec, weights, tables);
      return [consensus(decoded, clickedCells(asked, place, spec), spec)];
    },
  };
}

/** The three of the highest score, in the model's order. */
function bestThree({ planes, score }: Decoded): Answer[] {
  const best = byScore(answersOf(planes, score)).slice(0, 3);
  return inModelOrder(best);
}

function inModelOrder(answers: Answer[]): Answer[] {
  return [...answers].sort((a, b) => a.order - b.order).map((one, order) => ({ ...one, order }));
}

/** The three masks of a lone click that are worth the most, in the learned order. */
export function ranked(
  decoded: Decoded,
  { coords }: Tokens,
  place: Geometry,
  spec: Spec,
  weights: RankingWeights,
  lines: Lines,
): Answer[] {
  const grid = gridOf(coords, place, spec);
  const cells = [grid.y * grid.side + grid.x];
  const planes = decoded.planes.map((plane) => withoutParts(plane, cells, Infinity, grid));
  const { found, shared } = factsOf(decoded.score, planes, grid);
  const likely = chances(found, weights);
  const tokens = orderOf(likely, shared).slice(0, 3);
  const kept = [...tokens].sort((a, b) => a - b);
  const worth = tokens.map((token) => dot(shared[token], likely));
  const numbers = tokens.map((token) => decoded.score[token]);
  const scores = expectedIou(numbers, worth, lines);
  return tokens.map((token, i) => ({
    logits: planes[token],
    score: scores[i],
    order: kept.indexOf(token),
  }));
}

/** The IoU to expect of a lone click's masks, best first (`expected_iou`). */
function expectedIou(numbers: number[], worth: number[], { expected, scores }: Lines): number[] {
  const chance = (odds: number) => odds / (1 + odds);
  if (expected) {
    const mean = dot(numbers.map((number) => Math.log(oddsOf(number)))) / numbers.length;
    const clear = Math.exp(expected.quality * mean + expected.shift);
    return worth.map((value) => chance(clear * oddsOf(value) ** expected.worth));
  }
  if (!scores) return numbers;
  return numbers.map((one) => chance(Math.exp(scores.shift) * oddsOf(one) ** scores.factor));
}

function oddsOf(chance: number): number {
  const sure = Math.min(1 - LEAST_NUMBER, Math.max(LEAST_NUMBER, chance));
  return sure / (1 - sure);
}

// --- one mask for a clear prompt

/** A bare box is asked again, with its first answer and a click at that answer's deepest cell. */
async function askedTwice(decode: Decode, asked: Tokens, spec: Spec): Promise<Decoded> {
  const first = await decode(asked);
  const boxed = asked.labels.some((label) => CORNERS.includes(label));
  const bare = asked.labels.every((label) => label === NO_POINT || CORNERS.includes(label));
  return boxed && bare && !asked.hasMask ? decode(withMiddleClick(asked, first, spec)) : first;
}

/** The prompt with the mask that answered it, clicked at its deepest cell. */
export function withMiddleClick(given: Tokens, first: Decoded, spec: Spec): Tokens {
  const { logits } = consensus(first, [], spec);
  const middle = deepestCell(logits, spec.mask_side, spec.mask_threshold);
  const cell = spec.image_side / spec.mask_side;
  const place = middle ? [(middle[0] + 0.5) * cell, (middle[1] + 0.5) * cell] : [0, 0];
  return {
    coords: Float32Array.of(...given.coords, ...place),
    labels: [...given.labels, middle ? POSITIVE : NO_POINT],
    mask: logits,
    hasMask: 1,
  };
}

/** The mean of the masks without small parts, weighted by their expected IoU. */
function consensus({ planes, score }: Decoded, cells: readonly number[], spec: Spec): Answer {
  const [side, threshold] = [spec.mask_side, spec.mask_threshold];
  const grid = { side, height: side, width: side, threshold };
  const large = planes.map((plane) => withoutParts(plane, cells, LEAST_PART, grid));
  const likely = Array.from(score, (number) => Math.max(number, 0));
  const worth = iouOfPairs(commonCells(large, grid)).map((row) => dot(row, likely));
  const most = Math.max(...worth);
  const best = worth.indexOf(most);
  if (most <= 0) return { logits: large[best], score: score[best], order: 0 };
  const weights = worth.map((value) => Math.exp(FAVOUR * (value / most - 1)));
  const sum = weights.reduce((total, weight) => total + weight, 0);
  const logits = new Float32Array(side * side);
  for (let cell = 0; cell < logits.length; cell += 1) {
    let mean = 0;
    for (let token = 0; token < large.length; token += 1)
      mean += (weights[token] / sum) * large[token][cell];
    logits[cell] = mean;
  }
  return { logits, score: score[best], order: 0 };
}

function clickedCells({ coords, labels }: Tokens, place: Geometry, spec: Spec): number[] {
  return labels.flatMap((label, i) => {
    if (label !== POSITIVE) return [];
    const { side, x, y } = gridOf(coords.subarray(2 * i, 2 * i + 2), place, spec);
    return [y * side + x];
  });
}

// --- the order of a lone click's masks

/** The masks, the one of the most worth first, the one that can be spared last. */
function orderOf(likely: number[], shared: number[][]): number[] {
  const worth = shared.map((row) => dot(row, likely));
  const first = worth.indexOf(Math.max(...worth));
  const loss = likely.map((chance, i) =>
    i === first ? Infinity : chance * (1 - Math.max(...shared[i].filter((_, j) => j !== i))),
  );
  const spared = loss.indexOf(Math.min(...loss));
  const rank = (n: number) => (n === first ? 0 : n === spared ? 2 : 1);
  return likely.map((_, n) => n).sort((a, b) => rank(a) - rank(b) || worth[b] - worth[a]);
}

/** How likely each mask is the one that is meant; they sum to 1. */
export function chances(found: number[][], weights: RankingWeights): number[] {
  const mean = found[0].map((_, fact) => dot(found.map((row) => row[fact])) / found.length);
  const shift = weights.bias.map((bias, unit) => bias + dot(mean, column(weights.mean, unit)));
  const scores = found.map((row) => {
    const hidden = shift.map((from, unit) => Math.tanh(from + dot(row, column(weights.own, unit))));
    return dot(row, weights.direct) + dot(hidden, weights.out);
  });
  const most = Math.max(...scores);
  const chance = scores.map((score) => Math.exp(score - most));
  return chance.map((one) => one / dot(chance));
}

const column = (table: number[][], at: number) => table.map((row) => row[at]);

function dot(one: number[], other?: number[]): number {
  return one.reduce((sum, value, i) => sum + value * (other ? other[i] : 1), 0);
}

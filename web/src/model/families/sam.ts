/** SAM and its relatives: which of the decoder's masks are candidates (`masks/answer.py`). */

import { answersOf, byScore, choosing, type Answer, type Decoded, type Family } from "./family";

/** SAM: token 0 for a clear prompt, the other three for a lone click. */
export function sam(): Family {
  return choosing(
    ({ planes, score }) => answersOf(planes.slice(1), score.subarray(1)),
    ({ planes, score }) => answersOf(planes.slice(0, 1), score),
  );
}

/** EfficientSAM: all masks, asked for or not. */
export function efficientSam(): Family {
  const all = ({ planes, score }: Decoded) => answersOf(planes, score);
  return choosing(all, all);
}

/**
 * SAM-HQ: one mask. The last of the decoder's is a correction of the first, or of the best of the
 * others for a lone click.
 */
export function samHq(): Family {
  return choosing(
    ({ planes, score }) => corrected(byScore(answersOf(planes, score).slice(1, -1))[0], planes),
    ({ planes, score }) => corrected(answersOf(planes, score)[0], planes),
  );
}

function corrected(chosen: Answer, planes: Decoded["planes"]): Answer[] {
  const correction = planes[planes.length - 1];
  const logits = chosen.logits.map((logit, i) => logit + correction[i]);
  return [{ ...chosen, logits, order: 0 }];
}

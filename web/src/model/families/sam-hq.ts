/**
 * SAM-HQ's one mask: the last of the decoder's is a correction of the first, or of the best of the
 * others for a lone click (`masks/answer.py`).
 */

import { answersOf, byScore, choosing, type Answer, type Decoded, type Family } from "./family";

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

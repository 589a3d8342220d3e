/** Whatever shows a photo -> its pixels, upright, as a bitmap that a worker can be sent. */

import type { Photo } from "./types";

/** Throws an Error that says what was wanted, for a photo that cannot be read. */
export async function photoToBitmap(photo: Photo): Promise<ImageBitmap> {
  const given = typeof photo === "string" || photo instanceof URL ? await fetched(photo) : photo;
  if (given instanceof HTMLImageElement) await given.decode().catch(() => null);
  try {
    return await createImageBitmap(given, {
      imageOrientation: "from-image",
      premultiplyAlpha: "none",
    });
  } catch (error) {
    throw new Error(
      `The image cannot be read (${named(photo)}: ${error instanceof Error ? error.message : error}). ` +
        "Pass a loaded image element, canvas, ImageBitmap, Blob or URL.",
    );
  }
}

async function fetched(address: string | URL): Promise<Blob> {
  const reply = await fetch(address);
  if (reply.ok) return reply.blob();
  throw new Error(
    `The image at ${address} could not be loaded: HTTP status ${reply.status}. Check the URL.`,
  );
}

function named(photo: unknown): string {
  return photo instanceof Object ? photo.constructor.name : String(photo);
}

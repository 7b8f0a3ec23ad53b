// Photos instead of the camera: chosen, looked at by size before a byte is read, and sent one after the other.

const MAX_PHOTOS = 20;
const MAX_BYTES = 24 * 1024 * 1024;

/**
 * Let the user choose photos and have an avatar made of them.
 * @param {import("./session.js").Session} session
 * @param {(line: string) => void} say  told what happens meanwhile
 * @returns {Promise<string>}  what is wrong; empty: the edge is making the avatar, or nothing was chosen
 */
export async function choosePhotos(session, say) {
  const files = await chosen(session.photoTypes);
  if (!files.length) return "";
  if (files.length > MAX_PHOTOS) return `${files.length} photos are too many; choose ${MAX_PHOTOS} at most.`;
  const large = files.find((file) => file.size > MAX_BYTES);
  if (large) return `${large.name} has ${Math.round(large.size / 1024 / 1024)} MB, and ${MAX_BYTES / 1024 / 1024} is the most. Save it smaller: 2000 pixels are plenty.`;
  const empty = files.find((file) => file.size === 0);
  if (empty) return `${empty.name} is empty. Choose another.`;
  session.send("leave"); // whatever was uploaded before
  for (const [nth, file] of files.entries()) {
    say(`Taking photo ${nth + 1} of ${files.length}`);
    try {
      await session.upload(file);
    } catch (error) {
      return `${file.name}: ${error.message}`;
    }
  }
  session.send("photos");
  return "";
}

function chosen(accept) {
  const input = Object.assign(document.createElement("input"), { type: "file", multiple: true, accept });
  input.dataset.testid = "enrol-files";
  input.hidden = true;
  document.querySelector("dialog.enrol").append(input); // a test, and some browsers, need it in the document
  return new Promise((resolve) => {
    const done = () => {
      resolve([...input.files]);
      input.remove();
    };
    input.addEventListener("change", done, { once: true });
    input.addEventListener("cancel", done, { once: true });
    input.click();
  });
}

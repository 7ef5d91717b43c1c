// Plays the user of the README: opens a link of the server, confirms, and chooses an account at the
// emulated GitHub.
//
//   node walk.mjs URL USER     prints the heading of the page on which it ends
import { Browser } from "./browser.mjs";
import { choose } from "./signin.mjs";

const [url, user] = process.argv.slice(2);
const browser = new Browser();
const end = await choose(user)(browser, await browser.submit(await browser.open(url)));
console.log(end.html.match(/<h1>([^<]+)<\/h1>/)[1]);

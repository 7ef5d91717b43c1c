// Package pages is what people see of this server: the page on which they confirm that they want to
// connect an account, and the pages that say how it went. It renders and decides nothing.
//
// Every page is one HTML document without images and without anything from another server, and without script but
// for our own in a pop-up, and where what a provider's form brought is posted once more. What is shown of a request has been checked by its use case and is escaped here; error pages
// are made of our own sentences alone.
//
// Attackers: somebody who sends a link of his own to another person, who presses the button because it is
// there (a box that says in the person's own words that the account is for him, and has to be ticked), a
// page that frames ours to have a button pressed (frame-ancestors), text that tries to be
// markup (escaping, and a policy under which markup could load nothing), a provider's name that imitates
// another's (the page shows the origin behind the button).
package pages

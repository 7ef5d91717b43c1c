package pages

// Outcome is the page at the end of a flow that returns to no application. Codes are those of
// pipes.Result, and "connected" for success; an unknown one is told as a failure. Provider is its name.
func Outcome(code, provider string) Message {
	const again = "Go back to the application and start again if you still want to connect the account."
	nothing := func(why string, next ...string) Message {
		if next == nil {
			next = []string{again}
		}
		return Message{Title: provider + " was not connected", Paragraphs: append([]string{why}, next...)}
	}
	switch code {
	case Connected:
		return Message{Title: provider + " is connected", Paragraphs: []string{
			"The application can use the account from now on.",
			"You can close this page and go back to the application.",
		}}
	case "canceled":
		return nothing("You canceled, so nothing was connected.", "You can close this page.")
	case "access_denied":
		return nothing("The request was declined at "+provider+", by you or by an administrator.", again)
	case "authorization_expired":
		return nothing("It took too long until you came back from " + provider + ".")
	case "authorization_not_finished":
		return nothing("The application did not complete the connection after you came back from " + provider + ".")
	case "code_verifier_mismatch":
		return nothing("The application could not show that it was you who asked for this.")
	case "integration_unavailable":
		return nothing("The application has switched the connection to "+provider+" off.",
			"Ask those who run the application.")
	case "account_mismatch":
		return nothing("You signed in as another account at "+provider+" than the one that is connected, and it was kept.",
			"Go back to the application. To connect the same account again, sign in at "+provider+" with it first.")
	case "account_removed":
		return nothing("The account that was to be connected again was disconnected meanwhile.")
	case "too_many_connections":
		return nothing("There are as many accounts of "+provider+" connected as there can be.",
			"Go back to the application and disconnect one first.")
	case "refresh_token_in_use":
		return nothing("This account of "+provider+" is connected already, for somebody else.",
			"Sign in to "+provider+" with another account, or ask those who run the application.")
	case "authorization_code_exchange_error", "exchange_interrupted":
		return nothing(provider+" let you in, but did not complete the connection.", again,
			"If it happens again, tell those who run the application.")
	case "endpoint_changed":
		return nothing("The settings for "+provider+" were changed while you were away.", again)
	}
	return nothing(provider+" answered with an error.", again, "If it happens again, tell those who run the application.")
}

// Redirecting is the page of a window that has been opened and does not know yet where to.
func Redirecting() Message {
	return Message{Title: "Redirecting …", Paragraphs: []string{
		"You are about to be taken to where you sign in.",
		"If nothing happens, close this window and start again from your application.",
	}}
}

// Connected is the outcome of a flow that succeeded.
const Connected = "connected"

// Trouble is the page of a request that could not be carried out, by its error code and status. It says
// what happened and what to do, and never what was sent.
func Trouble(code string, status int) Message {
	switch code {
	case "ticket_not_usable":
		return Message{Title: "This link does not work any more", Paragraphs: []string{
			"It was used already, has expired, or is incomplete. Nothing was connected by opening it.",
			"Go back to the application and start again.",
		}}
	case "other_browser":
		return Message{Title: "This is not the browser in which you began", Paragraphs: []string{
			"For your safety a connection is completed only where it was started. Nothing was connected.",
			"Go back to the application in this browser and start again, with cookies allowed. If you did not start anything, close this page.",
		}}
	case "origin_not_allowed":
		return Message{Title: "This window was opened by a site that may not do so", Paragraphs: []string{
			"Another web site than your application tried to connect an account in it. Nothing was connected.",
			"Close this window. If you want to connect an account, start in the application.",
		}}
	case "not_confirmed":
		return Message{Title: "The box was not ticked", Paragraphs: []string{
			"It says that you have asked for this yourself. Nothing was connected.",
			"Go back to the page before this one and tick it, or close this page if you did not ask for this.",
		}}
	case "rate_limit_exceeded":
		return Message{Title: "Too often in a short time", Paragraphs: []string{
			"This link was opened, or its button pressed, more often than anybody needs. Nothing was lost.",
			"Wait a minute, then reload this page.",
		}}
	case "cross_site_request":
		return Message{Title: "This request came from another site", Paragraphs: []string{
			"Another web site tried to press the button for you, so nothing was done.",
			"Close this page. If you want to connect an account, start in the application.",
		}}
	case "invalid_callback":
		return Message{Title: "There is nothing to show here", Paragraphs: []string{
			"This address belongs to a step between two others, and what it was opened with is not complete. Nothing was connected.",
			"Go back to the application and start again.",
		}}
	}
	return general(status)
}

// general has words for what has no words of its own.
func general(status int) Message {
	switch {
	case status == 503 || status == 429:
		return Message{Title: "Please try again in a moment", Paragraphs: []string{
			"Something that is needed for this does not answer just now. Nothing was lost.",
			"Wait a little, then reload this page. If that does not help, go back to the application and start again.",
		}}
	case status >= 500:
		return Message{Title: "Something went wrong on our side", Paragraphs: []string{
			"The request could not be completed.",
			"Go back to the application and start again. If it happens again, tell those who run the application.",
		}}
	}
	return Message{Title: "This request could not be understood", Paragraphs: []string{
		"What your browser sent is not what this page expects. Nothing was connected.",
		"Go back to the application and start again.",
	}}
}

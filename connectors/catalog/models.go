package catalog

import (
	"net/http"

	"culvert/connectors"
)

// models is connectors of language models and what is built around them.
func models() []connectors.Connector {
	return []connectors.Connector{
		anthropic(),
		cohere(),
		elevenLabs(),
		gemini(),
		groq(),
		huggingFace(),
		mistral(),
		openAI(),
		openRouter(),
		pinecone(),
		replicate(),
	}
}

// anthropic wants a header with the version of its API in every call.
func anthropic() connectors.Connector {
	key := inHeader("API key", "In the Claude Console under Settings, API keys.", "X-Api-Key", "https://api.anthropic.com/v1/models")
	key.Headers = map[string]string{"Anthropic-Version": "2023-06-01"}
	return takesKeys(connectors.Connector{
		Slug:    "anthropic",
		Name:    "Anthropic",
		DocsURL: "https://docs.anthropic.com/en/api/overview",
		APIKey:  key,
	})
}

// cohere verifies a key by a POST.
func cohere() connectors.Connector {
	key := bearer("API key", "In the dashboard of Cohere under API keys.", "https://api.cohere.com/v1/check-api-key")
	key.VerifyMethod = http.MethodPost
	return takesKeys(connectors.Connector{
		Slug:    "cohere",
		Name:    "Cohere",
		DocsURL: "https://docs.cohere.com/reference/checkapikey",
		APIKey:  key,
	})
}

// elevenLabs may forbid a restricted key to read the user.
func elevenLabs() connectors.Connector {
	return takesKeys(connectors.Connector{
		Slug:    "elevenlabs",
		Name:    "ElevenLabs",
		DocsURL: "https://elevenlabs.io/docs/api-reference/authentication",
		APIKey: inHeader("API key", "In the settings of the profile under API keys.", "Xi-Api-Key",
			"https://api.elevenlabs.io/v1/user"),
	})
}

// gemini is the Gemini API of Google AI, not of Vertex AI. A bad key is answered with 400.
func gemini() connectors.Connector {
	return takesKeys(connectors.Connector{
		Slug:    "google-gemini",
		Name:    "Google Gemini",
		DocsURL: "https://ai.google.dev/api",
		APIKey: inHeader("API key", "In Google AI Studio under Get API key.", "X-Goog-Api-Key",
			"https://generativelanguage.googleapis.com/v1beta/models?pageSize=1"),
	})
}

func groq() connectors.Connector {
	return takesKeys(connectors.Connector{
		Slug:    "groq",
		Name:    "Groq",
		DocsURL: "https://console.groq.com/docs/api-reference",
		APIKey:  bearer("API key", "In the Groq console under API Keys.", "https://api.groq.com/openai/v1/models"),
	})
}

func huggingFace() connectors.Connector {
	return takesKeys(connectors.Connector{
		Slug:    "huggingface",
		Name:    "Hugging Face",
		DocsURL: "https://huggingface.co/docs/hub/api",
		APIKey:  bearer("Access token", "In the settings of the account under Access Tokens.", "https://huggingface.co/api/whoami-v2"),
	})
}

func mistral() connectors.Connector {
	return takesKeys(connectors.Connector{
		Slug:    "mistral",
		Name:    "Mistral AI",
		DocsURL: "https://docs.mistral.ai/api/",
		APIKey:  bearer("API key", "In the console of Mistral AI under API Keys.", "https://api.mistral.ai/v1/models"),
	})
}

// openAI may forbid a restricted key to list models.
func openAI() connectors.Connector {
	return takesKeys(connectors.Connector{
		Slug:    "openai",
		Name:    "OpenAI",
		DocsURL: "https://platform.openai.com/docs/api-reference/authentication",
		APIKey:  bearer("API key", "In the settings of the project under API keys.", "https://api.openai.com/v1/models"),
	})
}

// openRouter lists its models to everybody: only the call for the key itself verifies one.
func openRouter() connectors.Connector {
	return takesKeys(connectors.Connector{
		Slug:    "openrouter",
		Name:    "OpenRouter",
		DocsURL: "https://openrouter.ai/docs/api-reference",
		APIKey:  bearer("API key", "In the settings of the account under Keys.", "https://openrouter.ai/api/v1/key"),
	})
}

func pinecone() connectors.Connector {
	return takesKeys(connectors.Connector{
		Slug:    "pinecone",
		Name:    "Pinecone",
		DocsURL: "https://docs.pinecone.io/reference/api/authentication",
		APIKey:  inHeader("API key", "In the Pinecone console under API keys of the project.", "Api-Key", "https://api.pinecone.io/indexes"),
	})
}

func replicate() connectors.Connector {
	return takesKeys(connectors.Connector{
		Slug:    "replicate",
		Name:    "Replicate",
		DocsURL: "https://replicate.com/docs/reference/http",
		APIKey:  bearer("API token", "In the settings of the account under API tokens.", "https://api.replicate.com/v1/account"),
	})
}

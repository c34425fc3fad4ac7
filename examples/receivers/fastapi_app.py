"""Receives requests with FastAPI: HOLDFAST_PUSH_SECRET=whsec_… uvicorn fastapi_app:app"""

from fastapi import FastAPI, HTTPException, Request

from holdfast import push

app = FastAPI()
done: set[str] = set()  # yours is a table: the same request may come again


@app.post("/jobs")
async def jobs(request: Request) -> dict[str, str]:
    body = await request.body()  # as it came in, before anything parses it
    try:
        delivery = push.verify(body, request.headers)
    except push.SignatureInvalid as error:
        raise HTTPException(401, str(error)) from error
    if delivery.id not in done:
        print("to do:", body.decode())
        done.add(delivery.id)
    return {"done": delivery.id}

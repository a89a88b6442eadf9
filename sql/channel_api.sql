-- Channels: add_channel, drop_channel, test_channel, send_alerts.

CREATE FUNCTION gn_harvest.managed_channel(channel_name text) RETURNS gn_harvest.channel
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    found_channel gn_harvest.channel;
BEGIN
    SELECT * INTO found_channel FROM gn_harvest.channel c WHERE c.name = channel_name;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'channel "%" does not exist', channel_name
            USING ERRCODE = 'undefined_object',
                  HINT = 'SELECT channel FROM gn_harvest.channel_status lists the channels; gn_harvest.add_channel(...) adds one.';
    END IF;
    IF NOT gn_harvest.may_manage(gn_harvest.caller(), found_channel.owner) THEN
        RAISE EXCEPTION 'role "%" may not manage channel "%"', gn_harvest.caller(), channel_name
            USING ERRCODE = 'insufficient_privilege', DETAIL = format('It belongs to role "%s".', found_channel.owner),
                  HINT = format('GRANT %I TO %I;', found_channel.owner, gn_harvest.caller());
    END IF;
    RETURN found_channel;
END
$$;
COMMENT ON FUNCTION gn_harvest.managed_channel(text) IS 'A channel that the caller may manage, or an error.';

-- Which arguments each kind of channel takes, which it can not do without, and an example.
CREATE FUNCTION gn_harvest.check_channel_arguments(kind text, template text, given text[]) RETURNS void
LANGUAGE plpgsql IMMUTABLE
AS $$
#variable_conflict use_variable
DECLARE
    takes   text[];
    needs   text[];
    example text;
    refused text;
BEGIN
    CASE kind
        WHEN 'notify' THEN
            takes := '{listen}';
            needs := '{listen}';
            example := 'SELECT gn_harvest.add_channel(''supervision'', ''notify'', listen => ''gn_harvest_alert'');';
        WHEN 'email' THEN
            takes := '{host,port,tls,login,password,sender,recipients,ca_certificate}';
            needs := '{host,sender,recipients}';
            example := 'SELECT gn_harvest.add_channel(''mail'', ''email'', host => ''smtp.example.org'', login => ''...'', password => ''...'', sender => ''sinp@example.org'', recipients => ''{geomatique@example.org}'');';
        WHEN 'geonature' THEN
            takes := '{roles,url}';
            needs := '{roles}';
            example := 'SELECT gn_harvest.add_channel(''cloche'', ''geonature'', roles => ''{admin}'');';
        ELSE
            takes := CASE template WHEN 'telegram' THEN '{template,url,token,chat_id,ca_certificate}'::text[]
                                   WHEN 'generic' THEN '{template,url,token,ca_certificate}' ELSE '{template,url,ca_certificate}' END;
            needs := CASE template WHEN 'telegram' THEN '{token,chat_id}'::text[] ELSE '{url}' END;
            example := CASE template WHEN 'telegram' THEN 'SELECT gn_harvest.add_channel(''telegram'', ''webhook'', template => ''telegram'', token => ''...'', chat_id => ''...'');'
                                     ELSE 'SELECT gn_harvest.add_channel(''equipe'', ''webhook'', template => ''mattermost'', url => ''https://...'');' END;
    END CASE;
    SELECT g INTO refused FROM pg_catalog.unnest(given) g WHERE g <> ALL (takes) LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'a channel of kind % takes no %', pg_catalog.concat_ws(' ', kind, template), refused
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = pg_catalog.format('It takes: %s.', pg_catalog.array_to_string(takes, ', '));
    END IF;
    SELECT n INTO refused FROM pg_catalog.unnest(needs) n WHERE n <> ALL (given) LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'a channel of kind % needs %', pg_catalog.concat_ws(' ', kind, template), refused
            USING ERRCODE = 'invalid_parameter_value', HINT = example;
    END IF;
END
$$;
COMMENT ON FUNCTION gn_harvest.check_channel_arguments(text, text, text[]) IS 'Refuses arguments that a kind of channel does not take, or lacks.';

-- The settings of a channel of e-mail, with what is usual where nothing is given.
CREATE FUNCTION gn_harvest.email_settings(host text, port integer, tls text, login text, password text, sender text, recipients text[], ca_certificate text) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    is_here boolean := host IN ('localhost', '::1') OR host ~ '^127(\.\d{1,3}){3}$';
    means   text := coalesce(tls, CASE WHEN port = 465 THEN 'implicit' WHEN is_here THEN 'none' ELSE 'starttls' END);
BEGIN
    PERFORM gn_harvest.check_choice('tls', means, '{none,starttls,implicit}');
    PERFORM gn_harvest.check_range('port', port, 1, 65535);
    IF host !~ '^[A-Za-z0-9._:-]{1,253}$' THEN
        RAISE EXCEPTION 'host "%" is not the name of a server', host
            USING ERRCODE = 'invalid_parameter_value', HINT = 'Give a name such as ''smtp.example.org''; the port goes into port => ...';
    END IF;
    IF (login IS NULL) <> (password IS NULL) THEN
        RAISE EXCEPTION 'a login needs its password, and a password its login'
            USING ERRCODE = 'invalid_parameter_value', HINT = 'Give both, or neither when the mail server asks for none.';
    END IF;
    IF means = 'none' AND login IS NOT NULL AND NOT is_here THEN
        RAISE EXCEPTION 'a password does not go to another host in the clear'
            USING ERRCODE = 'invalid_parameter_value', HINT = 'Give tls => ''starttls'' or ''implicit'', or no login.';
    END IF;
    IF cardinality(recipients) = 0 OR array_position(recipients, NULL) IS NOT NULL THEN
        RAISE EXCEPTION 'recipients must name at least one address, and none that is null'
            USING ERRCODE = 'invalid_parameter_value', HINT = 'recipients => ''{geomatique@example.org,sinp@example.org}''';
    END IF;
    PERFORM gn_harvest.check_email_address(a) FROM unnest(recipients || sender) a;
    RETURN jsonb_build_object(
        'host', host, 'tls', means, 'login', login, 'sender', sender, 'recipients', to_jsonb(recipients), 'ca_certificate', ca_certificate,
        'port', coalesce(port, CASE means WHEN 'implicit' THEN 465 WHEN 'starttls' THEN 587 ELSE 25 END));
END
$$;
COMMENT ON FUNCTION gn_harvest.email_settings(text, integer, text, text, text, text, text[], text) IS 'Settings of a channel of e-mail, checked and with what is usual.';

CREATE FUNCTION gn_harvest.add_channel(
    name             text,
    kind             text,
    listen           text     DEFAULT NULL,
    host             text     DEFAULT NULL,
    port             integer  DEFAULT NULL,
    tls              text     DEFAULT NULL,
    login            text     DEFAULT NULL,
    password         text     DEFAULT NULL,
    sender           text     DEFAULT NULL,
    recipients       text[]   DEFAULT NULL,
    url              text     DEFAULT NULL,
    template         text     DEFAULT NULL,
    token            text     DEFAULT NULL,
    chat_id          text     DEFAULT NULL,
    roles            text[]   DEFAULT NULL,
    ca_certificate   text     DEFAULT NULL,
    minimum_severity text     DEFAULT 'warning',
    sources          text[]   DEFAULT NULL,
    language         text     DEFAULT NULL,
    digest           interval DEFAULT NULL,
    owner            name     DEFAULT NULL
) RETURNS gn_harvest.channel_status
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    settings jsonb;
    ids      integer[];
    added    integer;
    result   gn_harvest.channel_status;
BEGIN
    PERFORM gn_harvest.hide_statement('add_channel');
    IF add_channel.name IS NULL OR add_channel.name !~ '^\S(.{0,61}\S)?$' THEN
        RAISE EXCEPTION 'the name of a channel has 1 to 63 characters and neither begins nor ends with a space'
            USING ERRCODE = 'invalid_parameter_value', HINT = 'Give a name such as ''mail''.';
    END IF;
    PERFORM gn_harvest.check_choice('kind', add_channel.kind, '{notify,email,webhook,geonature}');
    IF EXISTS (SELECT FROM gn_harvest.channel c WHERE c.name = add_channel.name) THEN
        RAISE EXCEPTION 'channel "%" exists already', add_channel.name
            USING ERRCODE = 'duplicate_object', HINT = format('SELECT gn_harvest.drop_channel(%L); drops it, or choose another name.', add_channel.name);
    END IF;
    IF add_channel.kind = 'webhook' THEN
        add_channel.template := coalesce(add_channel.template, 'generic');
        PERFORM gn_harvest.check_choice('template', add_channel.template, '{generic,mattermost,slack,teams,telegram}');
    END IF;
    PERFORM gn_harvest.check_choice('minimum_severity', add_channel.minimum_severity, '{info,warning,critical}');
    add_channel.language := coalesce(add_channel.language, CASE WHEN gn_harvest.in_french() THEN 'fr' ELSE 'en' END);
    PERFORM gn_harvest.check_choice('language', add_channel.language, '{fr,en}');
    add_channel.digest := coalesce(add_channel.digest, CASE add_channel.kind WHEN 'notify' THEN interval '0' ELSE interval '10 minutes' END);
    IF add_channel.digest NOT BETWEEN interval '0' AND interval '7 days' THEN
        RAISE EXCEPTION 'digest must be between 0 and 7 days'
            USING ERRCODE = 'invalid_parameter_value', DETAIL = format('Value given: %s.', add_channel.digest),
                  HINT = 'After a message, what comes within this time goes in one. The default is interval ''10 minutes''.';
    END IF;
    PERFORM gn_harvest.check_owner(add_channel.owner);
    PERFORM gn_harvest.check_channel_arguments(add_channel.kind, add_channel.template, ARRAY(
        SELECT g.argument FROM (VALUES ('listen', add_channel.listen), ('host', add_channel.host), ('port', add_channel.port::text), ('tls', add_channel.tls),
            ('login', add_channel.login), ('password', add_channel.password), ('sender', add_channel.sender), ('recipients', add_channel.recipients::text),
            ('url', add_channel.url), ('template', add_channel.template), ('token', add_channel.token), ('chat_id', add_channel.chat_id),
            ('roles', add_channel.roles::text), ('ca_certificate', add_channel.ca_certificate)) g(argument, given)
        WHERE g.given IS NOT NULL));
    CASE add_channel.kind
        WHEN 'notify' THEN
            IF octet_length(add_channel.listen) NOT BETWEEN 1 AND 63 THEN
                RAISE EXCEPTION 'listen must have 1 to 63 bytes'
                    USING ERRCODE = 'invalid_parameter_value', HINT = 'It is the name that others LISTEN to, such as ''gn_harvest_alert''.';
            END IF;
            settings := jsonb_build_object('listen', add_channel.listen);
        WHEN 'email' THEN
            settings := gn_harvest.email_settings(add_channel.host, add_channel.port, add_channel.tls, add_channel.login, add_channel.password,
                                                  add_channel.sender, add_channel.recipients, add_channel.ca_certificate);
        WHEN 'geonature' THEN
            IF cardinality(add_channel.roles) = 0 OR array_position(add_channel.roles, NULL) IS NOT NULL THEN
                RAISE EXCEPTION 'roles must name at least one role, and none that is null'
                    USING ERRCODE = 'invalid_parameter_value', HINT = 'Give identifiant or id_role of utilisateurs.t_roles: roles => ''{admin,12}''. A group stands for its members.';
            END IF;
            PERFORM gn_harvest.webhook_origin(add_channel.url) WHERE add_channel.url IS NOT NULL;
            settings := jsonb_build_object('roles', to_jsonb(add_channel.roles), 'link', add_channel.url);
            add_channel.url := NULL;
        ELSE
            IF add_channel.template = 'telegram' THEN
                add_channel.url := coalesce(add_channel.url, 'https://api.telegram.org');
                IF add_channel.token !~ '^[A-Za-z0-9:_-]{1,200}$' THEN
                    RAISE EXCEPTION 'the token is not that of a bot'
                        USING ERRCODE = 'invalid_parameter_value', HINT = 'It has digits, a colon and letters, as BotFather gave it.';
                END IF;
            END IF;
            settings := jsonb_build_object('template', add_channel.template, 'origin', gn_harvest.webhook_origin(add_channel.url),
                                           'chat_id', add_channel.chat_id, 'ca_certificate', add_channel.ca_certificate);
    END CASE;
    IF cardinality(add_channel.sources) = 0 THEN
        RAISE EXCEPTION 'sources must name at least one source'
            USING ERRCODE = 'invalid_parameter_value', HINT = 'Leave it out for all that the owner may see.';
    END IF;
    ids := ARRAY(SELECT (gn_harvest.managed_source(s)).id FROM unnest(add_channel.sources) s);
    INSERT INTO gn_harvest.channel AS c (name, kind, settings, minimum_severity, source_ids, language, digest, owner)
    VALUES (add_channel.name, add_channel.kind, jsonb_strip_nulls(settings), add_channel.minimum_severity,
            CASE WHEN add_channel.sources IS NOT NULL THEN ids END, add_channel.language, add_channel.digest, coalesce(add_channel.owner, gn_harvest.caller()))
    RETURNING c.id INTO added;
    INSERT INTO gn_harvest.channel_secret (channel_id, url, password, token) VALUES (added, add_channel.url, add_channel.password, add_channel.token);
    SELECT s.* INTO result FROM gn_harvest.channel_status s WHERE s.channel = add_channel.name;
    RETURN result;
END
$$;
COMMENT ON FUNCTION gn_harvest.add_channel IS 'Adds a way to tell people of alerts: notify (NOTIFY with JSON), email (SMTP), webhook (generic, mattermost, slack, teams, telegram) or geonature (the bell of GeoNature). It tells of what its owner may see. test_channel tries it.';

CREATE FUNCTION gn_harvest.drop_channel(name text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    dropped gn_harvest.channel := gn_harvest.managed_channel(name);
BEGIN
    DELETE FROM gn_harvest.channel c WHERE c.id = dropped.id;
END
$$;
COMMENT ON FUNCTION gn_harvest.drop_channel(text) IS 'Removes a channel, its secrets and what it had still to tell.';

CREATE FUNCTION gn_harvest.test_channel(name text) RETURNS TABLE (worked boolean, error text, hint text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    tried  gn_harvest.channel := gn_harvest.managed_channel(name);
    number bigint := gn_harvest.start_test(tried.id);
BEGIN
    RETURN QUERY
        SELECT o.sent_at IS NOT NULL, o.last_error, o.last_hint FROM gn_harvest.outbox o WHERE o.id = number;
    IF NOT FOUND THEN
        RETURN QUERY SELECT false, 'the test left no trace', 'The server''s log says why its worker could not work.';
    END IF;
END
$$;
COMMENT ON FUNCTION gn_harvest.test_channel(text) IS 'Sends a test message by a channel, in a background worker, and says whether that worked and if not, why. After one that worked, what waited goes out.';

CREATE FUNCTION gn_harvest.send_alerts(OUT sent bigint, OUT waiting bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    since timestamptz := clock_timestamp();
BEGIN
    PERFORM gn_harvest.start_sending();
    SELECT count(*) FILTER (WHERE o.sent_at >= since), count(*) FILTER (WHERE o.sent_at IS NULL AND o.given_up_at IS NULL)
    INTO sent, waiting
    FROM gn_harvest.outbox o;
END
$$;
COMMENT ON FUNCTION gn_harvest.send_alerts() IS 'Looks at the rules that depend on time and sends what waits, in a background worker; returns how many events were sent, and how many wait still. For databases where no scheduler does it: call it by hand or by pg_cron.';

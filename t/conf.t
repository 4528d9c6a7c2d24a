#!/usr/bin/perl

# Why: conf/lockbox.conf and conf/redis.conf are what people start from.  The
# whole road is gone with them as they stand, but for names, places and ports.

use strict;
use warnings;

use Cwd qw(abs_path);
use Digest::SHA qw(sha256_hex);
use File::Basename qw(dirname);

use Lockbox::Jose qw(key);
use Test::Lockbox;

my $CONF = abs_path(dirname(__FILE__)) . '/../conf';

my $t = Test::Lockbox->new;
my $dir = $t->testdir;

sub slurp {
    my ($file) = @_;

    open my $fh, '<', $file or die "$file: $!\n";
    local $/;

    return <$fh>;
}


# Redis by conf/redis.conf, with an operator besides to look at it

my $rules = slurp("$CONF/redis.conf");

sub redis_starts {
    my ($text) = @_;

    $t->write_file('refused.conf', "port 0\n$text");
    local $?;
    my $server = $ENV{LOCKBOX_REDIS} // 'redis-server';
    my $output = `$server $dir/refused.conf 2>&1`;

    return ($? == 0, $output);
}

my ($started, $output) = redis_starts($rules);

ok(!$started, 'Redis refuses the sample before a password is set');
like($output, qr/Error in user declaration 'lockbox'/, 'and says so');

my $password = 'a password with blanks';

$t->write_file('redis.password', "$password\n");
$t->write_file('rules.conf', $rules =~ s/#SHA256-OF-THE-PASSWORD/
                                        '#' . sha256_hex($password)/er);
$t->redis(options => [ '--include', "$dir/rules.conf", '--user',
                       qw(operator on >operator ~* &* +@all) ]);

my $operator = $t->redis_client;
$operator->command('AUTH', 'operator', 'operator');

sub config {
    my ($name) = @_;

    return $operator->command('CONFIG', 'GET', $name)->[1];
}

is(config('appendonly'), 'yes', 'Redis keeps what it has answered');
is(config('appendfsync'), 'always', 'before it has answered');
is(config('maxmemory-policy'), 'noeviction', 'and makes no room by itself');

ok(!eval { $t->redis_cmd('GET', 'lockbox:requests') },
   'nobody comes in without');
like($@, qr/NOAUTH/, 'a password');

sub as_module {
    my $redis = $t->redis_client;
    $redis->command('AUTH', 'lockbox', $password);

    return eval { $redis->command(@_) } // $@;
}

like(as_module('HGET', 'other:key', 'state'), qr/NOPERM/,
     'the module reads no keys of others');
like(as_module('FLUSHALL'), qr/NOPERM/, 'and does nothing it has no need for');

$operator->command('CONFIG', 'RESETSTAT');
$operator->command('ACL', 'LOG', 'RESET');


# nginx by conf/lockbox.conf

sub nginx_conf {
    my ($sample) = @_;

    my %ours = (
        '/etc/nginx/lockbox/' => "$dir/",
        '/var/log/nginx/'     => "$dir/",
        '127.0.0.1:6379'      => '%%REDIS%%',
        '10.0.0.11:8080'      => '127.0.0.1:%%PORT_8081%%',
        '10.0.0.12:8080'      => '127.0.0.1:%%PORT_8081%%',
        '10.0.0.20:8080'      => '127.0.0.1:%%PORT_8081%%',
        'listen               443 ssl;'
            => 'listen 127.0.0.1:%%PORT_8443%% ssl; '
               . 'listen 127.0.0.1:%%PORT_8080%%;',
    );

    for my $theirs (sort keys %ours) {
        $sample =~ s/\Q$theirs\E/$ours{$theirs}/g
            or die "there is no \"$theirs\" in the sample\n";
    }

    return $t->conf(directives => { map { $_ => undef } our_directives() },
                    issuers => $sample, locations => 'return 404;');
}

# What the usual configuration of a test has, and the sample has, too.
sub our_directives {
    return qw(lockbox_redis lockbox_signing_key lockbox_grant_issuer
              lockbox_grant_audience lockbox_audit_log lockbox_max_open);
}

my $sample = slurp("$CONF/lockbox.conf");
my $door_key = 'let-me-in';

$t->write_file('next.pub.pem', key('P-256', 'next')->{public_pem});
$t->write_file('door-key.conf', "proxy_set_header X-Door-Key $door_key;\n");

Lockbox::Jose::openssl('', qw(req -x509 -nodes -newkey ec -pkeyopt
    ec_paramgen_curve:P-256 -subj /CN=vendor.example -keyout),
    "$dir/engineers.key", '-out', "$dir/engineers.crt");
symlink "engineers.$_", "$dir/api.$_" for qw(key crt);

my ($exit, $said) = $t->nginx_test(nginx_conf(
    $sample =~ s/^#(?=lockbox_)//mgr));

is($exit, 0, 'what the sample has in comments is right, too') or diag($said);

$t->upstream;
$t->write_conf(nginx_conf($sample));
$t->run;

my $ENGINEERS = 'engineers.vendor.example';
my $API = '/lockbox/v1/tenants/acme/requests';
my $MAIL = '/tenants/acme/mail/folders/inbox';
my $LEGAL = '/tenants/acme/mail/folders/legal';

sub call {
    my ($who, $method, $uri, $body) = @_;

    my $response = $t->http($method, $uri, headers => {
        Host => $ENGINEERS, Authorization => 'Bearer ' . $t->identity($who),
    }, $body ? (json => $body) : ());

    return $response->json;
}

sub knock {
    my ($grant, $method, $uri, %headers) = @_;

    return $t->http($method, $uri, headers => {
        Host => $ENGINEERS, $grant ? (Authorization => "Bearer $grant") : (),
        %headers,
    });
}

sub code {
    my ($response) = @_;

    return join ' ', $response->status,
        $response->status < 400 ? () : $response->json->{code} // ();
}

sub file {
    my ($service, @labels) = @_;

    return $API . '/' . call('engineer', 'POST', $API, {
        justification => 'The inbox of acme does not open.',
        reason => 'customer_initiated_support', ticket => 'SR-4711',
        duration => 600,
        access => [ { service => $service, methods => ['GET'],
                      paths => ["/tenants/acme/$service/"],
                      labels => \@labels } ],
    })->{id};
}

sub open_door {
    my ($request) = @_;

    call('manager', 'POST', "$request/approve", { version => 1 });
    call('customer', 'POST', "$request/approve", { version => 2 });

    return call('engineer', 'POST', "$request/grant")->{access_token};
}


# The engineers' door

is(code(knock(undef, 'GET', $MAIL)), '401 no_token', 'closed without a grant');

my $request = file('mail');
my $grant = open_door($request);
my $response = knock($grant, 'GET', $MAIL,
                     'X-Lockbox-Subject' => 'mona',
                     'X-Lockbox-Tenant' => 'globex',
                     'X-Lockbox-Request' => 'none',
                     'X-Door-Key' => 'guess');

is($response->status, 200, 'open with one');

my $seen = $response->json->{headers};

is($seen->{authorization}, undef, 'the grant stays at the door');
unlike($response->body, qr/\Q$grant\E/, 'whatever it is called behind');
is($seen->{'x-lockbox-subject'}, 'erin', 'who it is, the door says');
is($seen->{'x-lockbox-tenant'}, 'acme', 'and whose data');
is($seen->{'x-lockbox-request'}, (split m{/}, $request)[-1], 'and why');
is($seen->{'x-door-key'}, $door_key, 'the key is the door\'s');

is(code(knock($grant, 'GET', '/tenants/globex/mail/a')), '403 wrong_tenant',
   'not the other tenant');
is(code(knock($grant, 'GET', '/tenants/acme/files/a')), '403 wrong_service',
   'not the other service');
is(code(knock($grant, 'DELETE', $MAIL)), '403 wrong_method',
   'not the other method');
is(code(knock($grant, 'GET', $LEGAL)), '403 wrong_label',
   'not the labelled list');
is(code(knock($grant, 'GET', "$LEGAL/1")), '403 wrong_label',
   'and nothing in it');
is(knock($grant, 'GET', "${LEGAL}ese")->status, 200,
   'but what only begins like it');
is(knock($grant, 'GET', '/tenants/acme/')->status, 404,
   'nothing else leads anywhere');

my $labelled = open_door(file('mail', 'confidential'));

$response = knock($labelled, 'GET', "$LEGAL/1", 'X-Lockbox-Subject' => 'mona');

is($response->status, 200, 'a grant that names the label opens it');
is($response->json->{headers}{authorization}, undef,
   'and stays at the door there, too');
is($response->json->{headers}{'x-lockbox-subject'}, 'erin',
   'where the door says who it is');

my $VAULT = '/tenants/acme/files/vault';

is(code(knock($labelled, 'GET', $VAULT)), '403 wrong_service',
   'the vault is another service\'s');
is(code(knock(open_door(file('files', 'secret')), 'GET', $VAULT)),
   '403 wrong_label', 'and has two labels');
is(knock(open_door(file('files', 'secret', 'confidential')), 'GET',
         $VAULT)->status, 200, 'that a grant must name both');

my $curl = `curl -ksS --noproxy '*' -H 'Host: $ENGINEERS' \\
    -H 'Authorization: Bearer $grant' \\
    https://127.0.0.1:@{[ $t->port(8443) ]}$MAIL`;
like($curl, qr/"x-lockbox-subject":"erin"/, 'it is all the same with TLS');

my ($line) = $t->read_file('engineers.log') =~ /(.*\Q$LEGAL\E\/1 .* 200 .*)/;
like($line, qr{ allow \s tenant=acme \s labels=confidential \s who=erin \s
                request=\S+ \s until=\S+$ }x, 'the log says why');
unlike($t->read_file('engineers.log'), qr/\Q$grant\E/, 'and no secret');

my $revoked = call('customer', 'POST', "$request/revoke");

is($revoked->{state}, 'revoked', 'the customer ends it');
is(code(knock($grant, 'GET', $MAIL)), '401 revoked', 'and that is that');


# Events

my @told;

$t->wait_for(sub {
    @told = grep { $_->{uri} eq '/notify' } $t->upstream_requests;
    return @told >= 17;
}, undef, 'a message of each step');

is(scalar @told, 17, 'each step is told once');
is($told[0]{headers}{'content-type'}, 'application/cloudevents+json',
   'as an event');
is($told[0]{headers}{'x-door-key'}, undef, 'without the key of the door');
is(knock(undef, 'POST', '/notify')->status, 404, 'and by nobody else');

is(call('auditor', 'GET', '/lockbox/v1/events?limit=1')
       ->{events}[0]{data}{event}, 'filed', 'events can be read');

my $stream = $t->http_start('GET', '/lockbox/v1/events', keepalive => 1,
    headers => { Host => $ENGINEERS, Accept => 'text/event-stream',
                 Authorization => 'Bearer ' . $t->identity('auditor') });

is($stream->head->status, 200, 'and be waited for');
$t->wait_for(sub {
    $operator->command('PUBSUB', 'NUMSUB', 'lockbox:wake')->[1];
}, undef, 'somebody to wait for them');
file('mail');
like($stream->read_until(qr/data: .*\n\n/), qr/lockbox\.request\.filed/,
     'which come as they happen');
$stream->close;


# The customers' door

sub own {
    return $t->http('GET', $MAIL, headers => {
        Host => 'api.vendor.example', Authorization => 'Bearer own',
    });
}

is(own()->json->{headers}{authorization}, 'Bearer own',
   'the customers\' door passes on what it always did');


# The rights in Redis: those that are needed, no more, no less

call('auditor', 'GET', "/lockbox/v1/requests?limit=1");
call('auditor', 'GET', "/lockbox/v1/tenants/acme/audit?limit=1");

sub used {
    my ($stats) = $operator->command('INFO', 'commandstats');
    my %operators = map { $_ => 1 }
        qw(auth info config|resetstat acl|log pubsub|numsub);

    return grep { !$operators{$_} } $stats =~ /^cmdstat_([^:]+):calls=/mg;
}

# deadlines are looked for every few seconds
$t->wait_for(sub { grep { $_ eq 'zrangebyscore' } used() }, undef, 'a sweep');

# and a worker that goes says so
$t->reload;
$t->wait_for(sub { grep { $_ eq 'hdel' } used() }, undef, 'a leave');

my ($user) = $rules =~ /^user lockbox (.*)/m;

is(join("\n", sort(used())), join("\n", sort($user =~ /\+(\S+)/g)),
   'the commands that are allowed are those that are used');
is_deeply($operator->command('ACL', 'LOG'), [], 'and none was refused');


# Without Redis

my $another = open_door(file('mail', 'confidential'));

$t->redis_stop;

is(code(knock($another, 'GET', $MAIL)), '503 store_unavailable',
   'without Redis the engineers\' door is shut');
is(own()->status, 200, 'and the customers\' is not');

my @records = $t->json_lines('lockbox-audit.log');

is($records[-1]{'event.reason'}, 'store_unavailable', 'and that is on record');


# A loop, which needs no Redis and no rights

my $looped;

$t->wait_for(sub {
    $looped = code(knock(undef, 'POST', $API));
    return $looped ne '401 no_token';
}, undef, 'an end of the loop');

is($looped, '429 too_many_requests', 'steps in a loop are held off');
is(code(knock(undef, 'GET', $API)), '401 no_token', 'and nobody who looks');

done_testing;

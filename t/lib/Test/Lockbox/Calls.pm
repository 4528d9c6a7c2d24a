package Test::Lockbox::Calls;

# Calls of the admin API whose bodies are spelt by hand, and what must come of
# them.

use strict;
use warnings;

use Exporter qw(import);
use Test::More ();

use Test::Lockbox::Admin;

our @EXPORT = qw(
    $JSON_TYPE object item filing_text list_of post post_filing refused
    accepted
);

our $JSON_TYPE = 'application/json';

# Member => its JSON text: a filing and an access item that are right.
my @FILING = (
    justification => '"The inbox of acme does not open."',
    reason => '"customer_initiated_support"',
    duration => 3600,
    access => undef,
);
my @ITEM = (
    service => '"mail"', methods => '["GET"]',
    paths => '["/tenants/acme/mail/"]',
);


# The JSON text of an object: the pairs, with the changes; undef leaves one
# out, and what is new comes last.
sub object {
    my ($pairs, %changes) = @_;

    my @members;

    for (my $i = 0; $i < @$pairs; $i += 2) {
        my ($name, $value) = @$pairs[$i, $i + 1];

        $value = delete $changes{$name} if exists $changes{$name};
        push @members, qq("$name":$value) if defined $value;
    }

    for my $name (grep { defined $changes{$_} } sort keys %changes) {
        push @members, qq("$name":$changes{$name});
    }

    return '{' . join(',', @members) . '}';
}

sub item {
    return object(\@ITEM, @_);
}

sub filing_text {
    my (%changes) = @_;

    return object(\@FILING, access => '[' . item() . ']', %changes);
}

# A list of so many JSON texts, each made of its number.
sub list_of {
    my ($count, $text) = @_;

    return '[' . join(',', map { $text =~ s/%d/$_/r } 1 .. $count) . ']';
}

sub post {
    my ($who, $uri, $text, %options) = @_;

    return ask($who, 'POST', $uri, body => $text,
               headers => { 'Content-Type' => $JSON_TYPE,
                            %{ $options{headers} // {} } });
}

sub post_filing {
    return post('engineer', $REQUESTS, @_);
}


# The call is refused like this, and nothing else comes of it.
sub refused {
    my ($name, $want, $call) = @_;

    local $Test::Builder::Level = $Test::Builder::Level + 1;

    my $before = contents();
    records();

    my $response = $call->();
    my $json = eval { $response->json } // {};
    my @records = records();

    Test::More::is(join(' ', $response->status, grep { defined }
                                    @$json{qw(code member)}), $want, $name)
        if $response->body ne '';

    my ($status, $word) = split ' ', $want;
    my @seen = map {
        join ' ', @$_{qw(event.type event.reason http.response.status_code)}
    } @records;

    Test::More::is("@seen", "end $word $status", '... is recorded once');
    Test::More::is_deeply(contents(), $before, '... and changes nothing');

    return $response;
}

sub accepted {
    my ($name, $call) = @_;

    local $Test::Builder::Level = $Test::Builder::Level + 1;

    my $response = $call->();

    Test::More::like($response->status, qr/^20[01]$/, $name)
        or Test::More::diag($response->head, $response->body);

    return $response;
}


1;
